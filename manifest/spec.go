package manifest

import (
	"encoding/json"
	"path/filepath"
	"slices"
)

// podSpec is the part of a pod's spec that has a bearing on checkpoints.
type podSpec struct {
	RuntimeClassName              string      `json:"runtimeClassName"`
	HostNetwork                   bool        `json:"hostNetwork"`
	HostPID                       bool        `json:"hostPID"`
	HostIPC                       bool        `json:"hostIPC"`
	HostUsers                     *bool       `json:"hostUsers"`
	ShareProcessNamespace         bool        `json:"shareProcessNamespace"`
	RestartPolicy                 string      `json:"restartPolicy"`
	TerminationGracePeriodSeconds *int64      `json:"terminationGracePeriodSeconds"`
	Volumes                       []volume    `json:"volumes"`
	InitContainers                []container `json:"initContainers"`
	Containers                    []container `json:"containers"`
	EphemeralContainers           []container `json:"ephemeralContainers"`
}

type container struct {
	Name          string        `json:"name"`
	RestartPolicy string        `json:"restartPolicy"`
	VolumeMounts  []volumeMount `json:"volumeMounts"`
	VolumeDevices []struct {
		DevicePath string `json:"devicePath"`
	} `json:"volumeDevices"`
	Resources struct {
		Limits map[string]any `json:"limits"`
	} `json:"resources"`
	LivenessProbe  *probe `json:"livenessProbe"`
	ReadinessProbe *probe `json:"readinessProbe"`
	Lifecycle      struct {
		PreStop *struct{} `json:"preStop"`
	} `json:"lifecycle"`
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly"`
}

type probe struct {
	Exec *struct{} `json:"exec"`
}

// volume is a volume of a pod. Its source is the one key besides its name.
type volume struct {
	Name string
	// Source is the kind of volume, such as "emptyDir".
	Source string
	// Socket is set for a hostPath that is a unix socket, and Wide for one below
	// which the node has mounts of its own.
	Socket, Wide bool
}

// UnmarshalJSON reads a volume.
func (v *volume) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for key, value := range fields {
		if key == "name" {
			if err := json.Unmarshal(value, &v.Name); err != nil {
				return err
			}
			continue
		}
		if v.Source == "" || key < v.Source { // one of several, always the same
			v.Source = key
		}
		if key == "hostPath" {
			var path struct {
				Path string `json:"path"`
				Type string `json:"type"`
			}
			if err := json.Unmarshal(value, &path); err != nil {
				return err
			}
			v.Socket = path.Type == "Socket"
			v.Wide = slices.Contains([]string{"/", "/run", "/var/run"}, filepath.Clean(path.Path))
		}
	}
	return nil
}

// readOnly tells whether nothing can ever be written to a volume.
func (v volume) readOnly() bool {
	switch v.Source {
	case "configMap", "secret", "downwardAPI", "projected", "image":
		return true
	}
	return false
}
