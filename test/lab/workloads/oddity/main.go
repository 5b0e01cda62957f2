// Command oddity holds things that a checkpoint does not take, or that one
// might doubt about: each argument names one, as KIND or KIND=VALUE. When it
// holds them all it answers on port 8080.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Numbers of system calls that are the same everywhere, and of those that are
// not the amd64 ones.
const (
	memfdCreate  = 319
	userfaultfd  = 323
	ioUringSetup = 425
)

var kinds = map[string]func(value string) error{
	// Deleted while open, of so many bytes; sparse is without any data.
	"deleted": func(size string) error { return deleted(size, (*os.File).Write) },
	"sparse": func(size string) error {
		return deleted(size, func(f *os.File, data []byte) (int, error) { return 0, f.Truncate(int64(len(data))) })
	},
	// Deleted while open, but not under its other name.
	"linked": func(path string) error {
		if _, err := opened(path); err != nil {
			return err
		}
		return errors.Join(os.Link(path, path+".other"), os.Remove(path))
	},
	"file": func(path string) error {
		_, err := opened(path)
		return err
	},
	"flock": func(path string) error {
		f, err := opened(path)
		if err != nil {
			return err
		}
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	},
	"inotify": func(path string) error {
		fd, err := syscall.InotifyInit1(0)
		if err == nil {
			_, err = syscall.InotifyAddWatch(fd, path, syscall.IN_CREATE)
		}
		return err
	},
	"io_uring": func(string) error {
		var params [120]byte
		return called(ioUringSetup, 4, uintptr(unsafe.Pointer(&params)), 0)
	},
	"memfd": func(string) error {
		return called(memfdCreate, uintptr(unsafe.Pointer(&[]byte("memory\x00")[0])), 0, 0)
	},
	"mptcp":       func(string) error { return socket(syscall.AF_INET, syscall.SOCK_STREAM, 262) },
	"netlink":     func(string) error { return socket(syscall.AF_NETLINK, syscall.SOCK_RAW, 0) },
	"packet":      func(string) error { return socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0) },
	"userfaultfd": func(string) error { return called(userfaultfd, 1, 0, 0) },
	"sysv": func(string) error {
		id, _, errno := syscall.Syscall(syscall.SYS_SHMGET, 0x7265, 4096, 0o1600)
		if errno != 0 {
			return errno
		}
		_, _, errno = syscall.Syscall(syscall.SYS_SHMAT, id, 0, 0)
		return errnoOf(errno)
	},
	// A connection of its own to itself.
	"tcp": func(string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		accepted, err := l.Accept()
		keep = append(keep, l, c, accepted)
		return err
	},
	// A connection to a socket that somebody else serves.
	"unix": func(path string) error {
		c, err := net.Dial("unix", path)
		keep = append(keep, c)
		return err
	},
	// Its own unix socket, at which it accepts everybody, and a client of its own.
	"unix-own": func(path string) error {
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				}()
			}
		}()
		c, err := net.Dial("unix", path)
		keep = append(keep, c)
		return err
	},
	"child": func(string) error { return child(&syscall.SysProcAttr{}, "sleep", "infinity") },
	"pidns": func(string) error {
		return child(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}, "sleep", "infinity")
	},
	"user": func(id string) error {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return err
		}
		return child(&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}}, "sleep", "infinity")
	},
	"traced": func(string) error {
		// The thread that traces has to live as long as what it traces.
		runtime.LockOSThread()
		return child(&syscall.SysProcAttr{Ptrace: true}, "sleep", "infinity")
	},
	"stopped": func(string) error { return child(&syscall.SysProcAttr{}, "sh", "-c", "kill -STOP $$; sleep infinity") },
	"zombie":  func(string) error { return child(&syscall.SysProcAttr{}, "true") },
}

// keep holds what must not be collected.
var keep []any

func main() {
	if err := hold(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oddity:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})))
	os.Exit(1)
}

func hold(arguments []string) error {
	for _, argument := range arguments {
		kind, value, _ := strings.Cut(argument, "=")
		take, known := kinds[kind]
		if !known {
			return fmt.Errorf("no oddity %q", kind)
		}
		if err := take(value); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func opened(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	keep = append(keep, f)
	return f, err
}

func deleted(size string, fill func(*os.File, []byte) (int, error)) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	f, err := opened("/tmp/deleted-" + size)
	if err != nil {
		return err
	}
	_, err = fill(f, make([]byte, n))
	return errors.Join(err, os.Remove(f.Name()))
}

func child(attr *syscall.SysProcAttr, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = attr
	keep = append(keep, cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // until it has stopped, or ended
	return nil
}

func socket(family, kind, protocol int) error {
	fd, err := syscall.Socket(family, kind, protocol)
	if err != nil || protocol != 262 {
		return err
	}
	return syscall.Listen(fd, 1)
}

func called(number, a, b, c uintptr) error {
	_, _, errno := syscall.Syscall6(number, a, b, c, ^uintptr(0), 0, 0)
	return errnoOf(errno)
}

func errnoOf(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
