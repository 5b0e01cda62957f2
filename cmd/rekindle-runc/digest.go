package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// errAltered is returned for images that are not what was dumped.
var errAltered = errors.New("corrupt checkpoint")

// manifest is the part of a checkpoint's manifest that lists its files.
type manifest struct {
	Files []struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

// verifyImages compares the digests of all CRIU images with the manifest. The
// daemon has verified the manifest and everything small before it gave the
// order; the memory pages are read here, while CRIU reads them too.
func verifyImages(ctx context.Context, images string) error {
	checkpoint, name := filepath.Split(images)
	data, err := os.ReadFile(filepath.Join(checkpoint, "manifest.json"))
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("decode manifest: %w", err)
	}
	root, err := os.OpenRoot(checkpoint)
	if err != nil {
		return fmt.Errorf("open checkpoint: %w", err)
	}
	defer root.Close()
	for _, f := range m.Files {
		if f.SHA256 == "" || !strings.HasPrefix(f.Path, name+"/") {
			continue
		}
		digest, err := digestOf(ctx, root, f.Path)
		if err != nil {
			return fmt.Errorf("verify %s: %w", f.Path, err)
		}
		if digest != f.SHA256 {
			return fmt.Errorf("%w: %s: digest does not match", errAltered, f.Path)
		}
	}
	return nil
}

func digestOf(ctx context.Context, root *os.Root, path string) (string, error) {
	f, err := root.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash, buf := sha256.New(), make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.Read(buf)
		hash.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
