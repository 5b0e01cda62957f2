package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/archive"
	"github.com/rekindle-dev/rekindle/store"
)

// archiveTime is what reading or writing an archive may take.
const archiveTime = time.Hour

// errTerminal is returned when an archive would be written to a terminal.
var errTerminal = fmt.Errorf("%w: an archive is no text: name a file with --file, or redirect the output", errUsage)

func (a *app) export() *cobra.Command {
	var file, format string
	var compress bool
	cmd := &cobra.Command{
		Use:   "export ID",
		Short: "Write a checkpoint into an archive",
		Long: `Write a checkpoint into an archive, as the kubelet, CRI-O and Podman make and
checkpointctl reads them; with --format oci as an OCI image of one layer, in an
image layout that is one tar file.

The archive holds the memory of the workload, secrets included, and is not
encrypted. The checkpoint is not removed while it is exported.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file to make; it must not exist (default: standard output)")
	cmd.Flags().StringVar(&format, "format", archive.Formats[0], "archive or oci")
	cmd.Flags().BoolVar(&compress, "zstd", false, "compress with zstd")
	cmd.RunE = a.verb(archiveTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
		if err := checkID(args[0]); err != nil {
			return err
		}
		if file == "" && term.IsTerminal(int(os.Stdout.Fd())) {
			return errTerminal
		}
		d, err := a.dial(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		source, release, err := hold(ctx, d, args[0])
		if err != nil {
			return err
		}
		defer release()
		return a.write(file, source.Manifest.Bytes, func(w io.Writer) error {
			return archive.Write(ctx, w, source, archive.Format{Name: format, Compress: compress})
		})
	})
	return cmd
}

// hold asks the daemon for a checkpoint, and to keep it until it is released.
func hold(ctx context.Context, d *daemon, id string) (archive.Source, func(), error) {
	stream, err := d.Hold(ctx)
	if err == nil {
		err = stream.Send(&api.HoldRequest{Id: id})
	}
	if err != nil {
		return archive.Source{}, nil, d.fault(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		return archive.Source{}, nil, d.fault(err)
	}
	var m store.Manifest
	if err := json.Unmarshal(resp.ManifestJson, &m); err != nil {
		return archive.Source{}, nil, fmt.Errorf("decode manifest: %w", err)
	}
	return archive.Source{Manifest: m, Dir: resp.Dir}, func() { _ = stream.CloseSend() }, nil
}

// write gives do a new file, or standard output, and removes the file again when
// do fails.
func (a *app) write(file string, size int64, do func(io.Writer) error) (err error) {
	out := a.stdout
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("make archive: %w", err)
		}
		defer func() {
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				err = errors.Join(err, os.Remove(file))
			}
		}()
		out = f
	}
	bar := a.progress(size, "exporting")
	defer bar.close()
	return do(io.MultiWriter(out, bar))
}

// progress shows on a terminal how far it is. size may be an estimate.
func (a *app) progress(size int64, what string) *progress {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &progress{progressbar.DefaultBytesSilent(size)}
	}
	return &progress{progressbar.DefaultBytes(size, what)}
}

// progress is a bar that never fails what it shows.
type progress struct{ bar *progressbar.ProgressBar }

func (p *progress) Write(data []byte) (int, error) {
	_ = p.bar.Add(len(data))
	return len(data), nil
}

func (p *progress) close() { _ = p.bar.Close() }
