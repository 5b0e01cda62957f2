// Command images writes the lab's container images as docker-archive files,
// from local files alone: nothing is pulled. The same inputs give the same
// digests.
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const registry = "rekindle.test/"

// file is one entry of a layer.
type file struct {
	data []byte
	link string
	mode int64
	dir  bool
}

// layer maps paths without a leading slash to entries.
type layer map[string]file

type image struct {
	layers []layer
	config v1.Config
}

func main() {
	var in inputs
	flag.StringVar(&in.busybox, "busybox", "/bin/busybox", "a static busybox")
	flag.StringVar(&in.applets, "applets", "", "file with the output of busybox --list-full")
	flag.StringVar(&in.redis, "redis", "", "prefix with the unpacked Redis packages and their libraries")
	flag.StringVar(&in.workloads, "workloads", "", "folder with the lab's own static programs")
	out := flag.String("out", ".", "folder to write the archives to")
	flag.Parse()
	if err := in.write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

type inputs struct{ busybox, applets, redis, workloads string }

func (in inputs) write(out string) error {
	shell, err := in.shell()
	if err != nil {
		return err
	}
	pause, err := in.pause()
	if err != nil {
		return err
	}
	redis, err := in.redisLayer()
	if err != nil {
		return err
	}
	programs, err := in.programs()
	if err != nil {
		return err
	}
	path := []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	workloads := image{layers: []layer{shell, programs}, config: v1.Config{Env: path, Cmd: []string{"counter"}}}
	// The same files under another digest, for what must happen when the
	// image has changed since the checkpoint.
	successor := workloads
	successor.config.Labels = map[string]string{"test.rekindle/generation": "2"}

	for tag, img := range map[string]image{
		"pause:lab":      {layers: []layer{pause}, config: v1.Config{Entrypoint: []string{"/pause"}}},
		"busybox:lab":    {layers: []layer{shell}, config: v1.Config{Env: path, Cmd: []string{"sh"}}},
		"redis:lab":      {layers: []layer{shell, redis}, config: v1.Config{Env: path, Cmd: []string{"redis-server", "--protected-mode", "no", "--save", ""}, WorkingDir: "/data"}},
		"workloads:lab":  workloads,
		"workloads:lab2": successor,
	} {
		if err := img.write(tag, out); err != nil {
			return fmt.Errorf("%s: %w", tag, err)
		}
	}
	return nil
}

func (img image) write(tag, out string) error {
	built := empty.Image
	for _, l := range img.layers {
		data, err := l.tar()
		if err != nil {
			return err
		}
		opened, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		})
		if err != nil {
			return err
		}
		if built, err = mutate.AppendLayers(built, opened); err != nil {
			return err
		}
	}
	config, err := built.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", runtime.GOARCH, img.config
	if built, err = mutate.ConfigFile(built, config); err != nil {
		return err
	}
	reference, err := name.NewTag(registry + tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(filepath.Join(out, strings.ReplaceAll(tag, ":", "-")+".tar"), reference, built)
}

// tar writes the entries in order, with the folders above them, all of one
// date: a layer's digest depends on nothing but its content.
func (l layer) tar() ([]byte, error) {
	for name := range l {
		for above := path.Dir(name); above != "."; above = path.Dir(above) {
			if _, ok := l[above]; !ok {
				l[above] = file{dir: true, mode: 0o755}
			}
		}
	}
	names := make([]string, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, name := range names {
		f := l[name]
		header := &tar.Header{Name: name, Mode: f.mode, Typeflag: tar.TypeReg, Size: int64(len(f.data))}
		switch {
		case f.dir:
			header.Name, header.Typeflag = name+"/", tar.TypeDir
		case f.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func (l layer) copy(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	l[to] = file{data: data, mode: 0o755}
	return nil
}

// shell is busybox under the names of its applets, and what programs expect of
// any system.
func (in inputs) shell() (layer, error) {
	l := layer{
		"etc/passwd":        {data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"), mode: 0o644},
		"etc/group":         {data: []byte("root:x:0:\nnogroup:x:65534:\n"), mode: 0o644},
		"etc/nsswitch.conf": {data: []byte("hosts: files dns\n"), mode: 0o644},
		"root":              {dir: true, mode: 0o700},
		"tmp":               {dir: true, mode: 0o1777},
		"var/tmp":           {dir: true, mode: 0o1777},
	}
	if err := l.copy(in.busybox, "bin/busybox"); err != nil {
		return nil, err
	}
	applets, err := os.ReadFile(in.applets)
	if err != nil {
		return nil, err
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		// One folder for all: with usr/bin beside bin, which of two names is
		// found would depend on the distribution's list.
		if name := "bin/" + path.Base(applet); name != "bin/busybox" {
			l[name] = file{link: "busybox", mode: 0o777}
		}
	}
	return l, nil
}

func (in inputs) pause() (layer, error) {
	l := layer{}
	return l, l.copy(filepath.Join(in.workloads, "pause"), "pause")
}

// programs are the lab's own, and the files that the program named files
// changes and removes.
func (in inputs) programs() (layer, error) {
	l := layer{
		"data/changed": {data: []byte("from the image\n"), mode: 0o644},
		"data/deleted": {data: []byte("from the image, to be deleted\n"), mode: 0o644},
		"data/kept":    {data: []byte("from the image, never touched\n"), mode: 0o644},
	}
	entries, err := os.ReadDir(in.workloads)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := l.copy(filepath.Join(in.workloads, entry.Name()), "usr/local/bin/"+entry.Name()); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// redisLayer takes the distribution's programs and every library that they
// name, from where the packages put them.
func (in inputs) redisLayer() (layer, error) {
	l := layer{"data": {dir: true, mode: 0o755}}
	libraries, err := in.libraries()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"redis-server", "redis-cli"} {
		// redis-server is a link to the program that checks RDB files in some
		// releases; a copy of what it leads to is as good.
		if err := l.addProgram(filepath.Join(in.redis, "usr/bin", program), "usr/bin/"+program, libraries); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (in inputs) libraries() (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(in.redis, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(entry.Name(), ".so") {
			return err
		}
		// Links that lead out of the prefix, or nowhere, are no library.
		if resolved, err := filepath.EvalSymlinks(name); err == nil {
			found[entry.Name()] = resolved
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return found, err
}

func (l layer) addProgram(from, to string, libraries map[string]string) error {
	if err := l.copy(from, to); err != nil {
		return err
	}
	binary, err := elf.Open(from)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	defer func() { _ = binary.Close() }()
	for _, program := range binary.Progs {
		if program.Type != elf.PT_INTERP {
			continue
		}
		raw, err := io.ReadAll(program.Open())
		if err != nil {
			return err
		}
		loader := strings.TrimRight(string(raw), "\x00")
		source, ok := libraries[path.Base(loader)]
		if !ok {
			return fmt.Errorf("%s wants the loader %s, which none of the packages has", from, loader)
		}
		if err := l.copy(source, strings.TrimPrefix(loader, "/")); err != nil {
			return err
		}
	}
	needed, err := binary.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, library := range needed {
		target := "usr/lib/" + library
		if _, ok := l[target]; ok {
			continue
		}
		source, ok := libraries[library]
		if !ok {
			return fmt.Errorf("%s needs %s, which none of the packages has", from, library)
		}
		if err := l.addProgram(source, target, libraries); err != nil {
			return err
		}
	}
	return nil
}
