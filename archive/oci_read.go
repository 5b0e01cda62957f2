package archive

import (
	"archive/tar"
	"context"
	"errors"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// bundle reads an image layout, behind its first entry. It is read as it comes,
// so what names a blob has to come before it, as in what [Write] writes.
func (a *reader) bundle(t *entries) error {
	var index v1.Index
	var manifest v1.Manifest
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return refuse("there is no layer in it, or it comes before the index and the manifest that name it")
		}
		if err != nil {
			return err
		}
		if err := a.budget.entry(); err != nil {
			return err
		}
		if head.Typeflag == tar.TypeDir {
			continue
		}
		if head.Typeflag != tar.TypeReg {
			return refuse("%.200q is not a plain file", head.Name)
		}
		switch {
		case head.Name == v1.ImageIndexFile:
			err = a.text(t, head.Size, &index)
			if err == nil && len(index.Manifests) != 1 {
				err = refuse("the index names %d images", len(index.Manifests))
			}
		case len(index.Manifests) == 1 && named(head.Name, index.Manifests[0]):
			err = a.manifest(t, head.Size, index.Manifests[0], &manifest)
		case len(manifest.Layers) == 1 && named(head.Name, manifest.Layers[0]):
			return a.blob(t, manifest.Layers[0])
		default:
			err = a.budget.spend(head.Size)
		}
		if err != nil {
			return err
		}
	}
}

func named(name string, d v1.Descriptor) bool {
	return d.Digest.Validate() == nil && name == blob(d.Digest)
}

func (a *reader) manifest(r io.Reader, size int64, d v1.Descriptor, into *v1.Manifest) error {
	verifier := d.Digest.Verifier()
	if err := a.text(io.TeeReader(r, verifier), size, into); err != nil {
		return err
	}
	if !verifier.Verified() {
		return refuse("the manifest does not have its digest")
	}
	if len(into.Layers) != 1 {
		return refuse("the image has %d layers", len(into.Layers))
	}
	return nil
}

// drain reads what is left, within the ratio of the limits.
func drain(ctx context.Context, r io.Reader) error {
	n, err := io.Copy(io.Discard, withContext{ctx, io.LimitReader(r, maxTail+1)})
	if err == nil && n > maxTail {
		return refuse("there is more behind its end")
	}
	return err
}

// maxTail is what may stand behind the end of a tar file: it is filled up with
// zeroes to whole records.
const maxTail = 1 << 20

// blob unpacks the layer, and compares its digest at the end.
func (a *reader) blob(r io.Reader, d v1.Descriptor) error {
	verifier := d.Digest.Verifier()
	tee := io.TeeReader(r, verifier)
	in, end, err := plain(tee, a.limits)
	if err != nil {
		return err
	}
	defer end()
	inner := newEntries(in)
	for {
		head, err := inner.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := a.budget.entry(); err != nil {
			return err
		}
		if err := a.entry(inner, head); err != nil {
			return err
		}
	}
	// What stands behind the end of the archive is a part of the blob.
	if err := errors.Join(drain(a.ctx, in), drain(a.ctx, tee)); err != nil {
		return err
	}
	if !verifier.Verified() {
		return refuse("the layer does not have its digest %.80s", d.Digest)
	}
	return a.complete()
}
