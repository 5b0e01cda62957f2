// Package manifest says of Kubernetes manifests, before they are applied, what
// Rekindle would do with the containers of the pods they make.
//
// It knows no more than the manifest: which node the pod will run on, what the
// program does, and what admission webhooks change is for the daemon to see.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	// maxBytes is several times what an API server accepts as one object.
	maxBytes     = 8 << 20
	maxDocuments = 1000
	maxDepth     = 4 // of lists in lists
)

// ErrNoPods is returned for manifests that make no pod.
var ErrNoPods = errors.New("there is neither a pod nor a workload with a pod template in it")

// Pod is a pod, or what a workload makes its pods of.
type Pod struct {
	// Kind is that of the object it is written in.
	Kind string
	// Namespace and Name are the object's; Namespace is empty if it names none.
	Namespace, Name string
	// Annotations are the pod's own.
	Annotations map[string]string

	spec podSpec
}

// Set is what a file of manifests holds.
type Set struct {
	Pods []Pod
	// handlers maps the names of the RuntimeClasses in the file to their handlers.
	handlers map[string]string
}

// object is the part of any object that counts here.
type object struct {
	Kind     string            `json:"kind"`
	Metadata metadata          `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
	Template *template         `json:"template"` // of a PodTemplate
	Items    []json.RawMessage `json:"items"`
	Handler  string            `json:"handler"` // of a RuntimeClass
}

type metadata struct {
	Name         string            `json:"name"`
	GenerateName string            `json:"generateName"`
	Namespace    string            `json:"namespace"`
	Annotations  map[string]string `json:"annotations"`
}

type template struct {
	Metadata metadata `json:"metadata"`
	Spec     podSpec  `json:"spec"`
}

// workload is the spec of what makes pods: a Deployment and its like, or a
// CronJob.
type workload struct {
	Template    *template `json:"template"`
	JobTemplate *struct {
		Spec struct {
			Template *template `json:"template"`
		} `json:"spec"`
	} `json:"jobTemplate"`
}

// workloads are the kinds that must have a pod template; of any other kind it is
// taken if it is there.
var workloads = map[string]bool{
	"Deployment": true, "StatefulSet": true, "DaemonSet": true, "ReplicaSet": true,
	"ReplicationController": true, "Job": true, "CronJob": true, "PodTemplate": true,
}

// Read reads YAML documents, or JSON, of any kinds. An error names the document
// and the line it begins at.
func Read(r io.Reader) (Set, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return Set{}, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > maxBytes {
		return Set{}, fmt.Errorf("read manifest: it is larger than %d MiB", maxBytes>>20)
	}
	documents := split(data)
	if len(documents) > maxDocuments {
		return Set{}, fmt.Errorf("read manifest: there are more than %d documents in it", maxDocuments)
	}
	set := Set{handlers: map[string]string{}}
	for i, d := range documents {
		text, err := yaml.YAMLToJSON(d.text)
		if err == nil {
			err = set.add(text, 0)
		}
		if err != nil {
			return Set{}, fmt.Errorf("document %d, from line %d: %w", i+1, d.line, err)
		}
	}
	if len(set.Pods) == 0 {
		return Set{}, ErrNoPods
	}
	return set, nil
}

type document struct {
	text []byte
	line int
}

// split separates documents at lines that begin with "---", which nothing else
// in YAML may.
func split(data []byte) []document {
	current := document{line: 1}
	var out []document
	end := func() {
		if len(bytes.TrimSpace(current.text)) > 0 {
			out = append(out, current)
		}
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		rest, found := bytes.CutPrefix(line, []byte("---"))
		if found && (len(bytes.TrimSpace(rest)) == 0 || rest[0] == ' ' || rest[0] == '\t') {
			end()
			current = document{line: n}
			line = append([]byte("   "), rest...)
		}
		current.text = append(current.text, line...)
	}
	end()
	return out
}

// add takes the pods of one object.
func (s *Set) add(text []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("lists are nested too deep")
	}
	if string(text) == "null" {
		return nil // nothing but comments
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return explained(err)
	}
	switch {
	case o.Kind == "":
		return errors.New("it has no kind: is it a Kubernetes manifest?")
	case strings.HasSuffix(o.Kind, "List"):
		for _, item := range o.Items {
			if err := s.add(item, depth+1); err != nil {
				return err
			}
		}
	case o.Kind == "RuntimeClass":
		s.handlers[o.Metadata.Name] = o.Handler
	case o.Kind == "Pod":
		p := Pod{Annotations: o.Metadata.Annotations}
		if err := json.Unmarshal(orEmpty(o.Spec), &p.spec); err != nil {
			return fmt.Errorf("%s: %w", o, explained(err))
		}
		return s.take(o, p)
	default:
		return s.template(o)
	}
	return nil
}

// template takes the pod template of a workload.
func (s *Set) template(o object) error {
	var w workload
	if err := json.Unmarshal(orEmpty(o.Spec), &w); err != nil && workloads[o.Kind] {
		return fmt.Errorf("%s: %w", o, explained(err))
	} else if err != nil {
		return nil // a kind that means something else by "template"
	}
	t := w.Template
	if w.JobTemplate != nil {
		t = w.JobTemplate.Spec.Template
	}
	if o.Template != nil {
		t = o.Template
	}
	switch {
	case t != nil && (workloads[o.Kind] || len(t.Spec.Containers) > 0):
		return s.take(o, Pod{Annotations: t.Metadata.Annotations, spec: t.Spec})
	case workloads[o.Kind]:
		return fmt.Errorf("%s: it has no pod template", o)
	}
	return nil
}

func (s *Set) take(o object, p Pod) error {
	if len(p.spec.Containers) == 0 {
		return fmt.Errorf("%s: it has no containers", o)
	}
	p.Kind, p.Namespace, p.Name = o.Kind, o.Metadata.Namespace, o.name()
	s.Pods = append(s.Pods, p)
	return nil
}

// generated stands for what Kubernetes appends to a name; no name has it.
const generated = "*"

func (o object) name() string {
	if o.Metadata.Name == "" && o.Metadata.GenerateName != "" {
		return o.Metadata.GenerateName + generated
	}
	return o.Metadata.Name
}

// String returns "Deployment web".
func (o object) String() string { return fmt.Sprintf("%.60s %.253s", o.Kind, o.name()) }

func orEmpty(spec json.RawMessage) json.RawMessage {
	if len(spec) == 0 {
		return json.RawMessage("{}")
	}
	return spec
}

// explained words an error of the decoder for people who write YAML.
func explained(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	hint := ""
	if strings.Contains(wrong.Field, "annotations") {
		hint = "; put the value of an annotation in quotes"
	}
	return fmt.Errorf("%s is a %s and should be a %s%s", wrong.Field, wrong.Value, wrong.Type, hint)
}
