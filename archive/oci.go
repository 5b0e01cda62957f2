package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// nameAnnotation is by which CRI-O knows an image for a checkpoint.
const nameAnnotation = "io.kubernetes.cri-o.annotations.checkpoint.name"

// bundle writes an OCI image of one layer, which is the archive. A layer is named
// by its digest, so it is made twice, the first time to nowhere.
func bundle(ctx context.Context, w io.Writer, c Source, compress bool) error {
	layer, plain, err := describe(ctx, c, compress)
	if err != nil {
		return err
	}
	m := c.Manifest
	config, err := encode(v1.Image{
		Created: &m.Created, Platform: v1.Platform{Architecture: m.Arch, OS: "linux"},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{plain}},
	})
	if err != nil {
		return err
	}
	manifest, err := encode(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: descriptor(v1.MediaTypeImageConfig, config), Layers: []v1.Descriptor{layer},
		Annotations: map[string]string{
			nameAnnotation: m.Container, metadata.CheckpointAnnotationName: m.Container,
			metadata.CheckpointAnnotationPod: m.PodName, metadata.CheckpointAnnotationPodID: m.PodUID,
			metadata.CheckpointAnnotationNamespace:       m.Namespace,
			metadata.CheckpointAnnotationEngine:          "containerd",
			metadata.CheckpointAnnotationRootfsImageName: m.ImageName, metadata.CheckpointAnnotationRootfsImageSha: m.ImageDigest,
			metadata.CheckpointAnnotationCriuVersion: m.CRIU, metadata.CheckpointAnnotationRuntimeVersion: m.Runc,
			metadata.CheckpointAnnotationHostArch: m.Arch, metadata.CheckpointAnnotationHostKernel: m.Kernel,
			metadata.CheckpointAnnotationCgroupVersion: m.Cgroup,
		},
	})
	if err != nil {
		return err
	}
	entry := descriptor(v1.MediaTypeImageManifest, manifest)
	entry.Platform = &v1.Platform{Architecture: m.Arch, OS: "linux"}
	index, err := encode(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{entry}})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, part := range []struct {
		name string
		data []byte
	}{
		{v1.ImageLayoutFile, []byte(`{"imageLayoutVersion": "` + v1.ImageLayoutVersion + `"}` + "\n")},
		{v1.ImageIndexFile, index},
		{blob(entry.Digest), manifest},
		{blob(digest.FromBytes(config)), config},
	} {
		if err := put(t, part.name, int64(len(part.data)), m.Created, bytes.NewReader(part.data)); err != nil {
			return err
		}
	}
	r, pipe := io.Pipe()
	go func() { _ = pipe.CloseWithError(stream(ctx, pipe, c, compress)) }()
	err = put(t, blob(layer.Digest), layer.Size, m.Created, r)
	_ = r.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return err
	}
	return t.Close()
}

// describe makes the layer, and tells its digest and that of what it unpacks to.
func describe(ctx context.Context, c Source, compress bool) (v1.Descriptor, digest.Digest, error) {
	var size counter
	packedSum, plainSum := sha256.New(), sha256.New()
	out, end, err := packed(io.MultiWriter(packedSum, &size), compress)
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	if err := write(ctx, io.MultiWriter(out, plainSum), c); err != nil {
		return v1.Descriptor{}, "", err
	}
	if err := end(); err != nil {
		return v1.Descriptor{}, "", err
	}
	kind := v1.MediaTypeImageLayer
	if compress {
		kind = v1.MediaTypeImageLayerZstd
	}
	d := v1.Descriptor{MediaType: kind, Digest: digest.NewDigest(digest.SHA256, packedSum), Size: int64(size)}
	return d, digest.NewDigest(digest.SHA256, plainSum), nil
}

func descriptor(kind string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: kind, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// blob is where a layout keeps what has a digest.
func blob(d digest.Digest) string {
	return v1.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

func put(t *tar.Writer, name string, size int64, at time.Time, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second)}); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	if _, err := io.Copy(t, r); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	return nil
}
