package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/archive"
)

func (a *app) imports() *cobra.Command {
	var as, image string
	cmd := &cobra.Command{
		Use:   "import FILE --as NAMESPACE/POD/CONTAINER",
		Short: "Take a checkpoint in from an archive",
		Long: `Take a checkpoint in from an archive that export, the kubelet, CRI-O or Podman
has made; FILE may be - for standard input. It is given to the next pod of that
name in that namespace, if image and spec are as they were.

Whoever made the archive decides what that container executes, so the
configuration has to allow it (import.max_size). The archive itself is read with
suspicion: nothing in it is followed, fetched or run.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&as, "as", "", "for which container (NAMESPACE/POD/CONTAINER)")
	cmd.Flags().StringVar(&image, "image", "", "of which image of this node it is, if the archive does not say by digest")
	_ = cmd.MarkFlagRequired("as")
	cmd.RunE = a.verb(archiveTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
		name := strings.Split(as, "/")
		if len(name) != 3 {
			return fmt.Errorf("%w: --as is %q, not NAMESPACE/POD/CONTAINER", errUsage, as)
		}
		in, size, err := openArchive(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		d, err := a.dial(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		begin := &api.ImportRequest_Begin{Namespace: name[0], Pod: name[1], Container: name[2], Image: image, Bytes: max(0, size)}
		c, err := a.takeIn(ctx, d, begin, in, size)
		if err != nil {
			return err
		}
		if a.output == outputJSON {
			return a.writeJSON(map[string]any{"checkpoint": c})
		}
		fmt.Fprintln(a.stdout, "imported", printable(c.Id))
		return nil
	})
	return cmd
}

// openArchive opens a file and tells its size, or -1 for what has none.
func openArchive(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), -1, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("open archive: %w", err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return f, -1, nil //nolint:nilerror // it is only for the progress
	}
	return f, info.Size(), nil
}

// maxRatio is how many times its size an archive may unpack to.
const maxRatio = 200

// maxEntries bounds the files of an archive. A manifest lists as many.
const maxEntries = 80_000

// takeIn unpacks an archive where the daemon says. Reading what is hostile is
// done here, and not in the daemon.
func (a *app) takeIn(ctx context.Context, d *daemon, begin *api.ImportRequest_Begin, in io.Reader, size int64) (*api.Checkpoint, error) {
	stream, err := d.Import(ctx)
	if err == nil {
		err = stream.Send(&api.ImportRequest{Begin: begin})
	}
	if err != nil {
		return nil, d.fault(err)
	}
	place, err := stream.Recv()
	if err != nil {
		return nil, d.fault(err)
	}
	bar := a.progress(size, "importing")
	claims, err := archive.Read(ctx, io.TeeReader(in, bar), place.Dir, archive.Limits{Bytes: place.MaxBytes, Entries: maxEntries, Ratio: maxRatio})
	bar.close()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(claims)
	if err != nil {
		return nil, fmt.Errorf("encode claims: %w", err)
	}
	if err := stream.Send(&api.ImportRequest{Commit: &api.ImportRequest_Commit{ClaimsJson: data}}); err != nil {
		return nil, d.fault(err)
	}
	done, err := stream.Recv()
	if err != nil {
		return nil, d.fault(err)
	}
	return done.Checkpoint, nil
}
