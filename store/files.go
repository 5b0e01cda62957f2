package store

import (
	"context"
	"fmt"
	"os"
)

// Files lists what is in a directory as a manifest would, with the sum of all sizes:
// of a checkpoint that was decrypted, whose own manifest does not say.
func Files(ctx context.Context, dir string) (files []File, bytes int64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list files: %w", err)
	}
	defer root.Close()
	entries, err := scan(ctx, root)
	if err != nil {
		return nil, 0, err
	}
	c := &commit{root: root, entries: entries}
	if err := c.digestFiles(ctx); err != nil {
		return nil, 0, err
	}
	return c.manifest.Files, c.manifest.Bytes, nil
}
