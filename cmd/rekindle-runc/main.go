// Command rekindle-runc is the executor: containerd's shim calls it in the place
// of runc for a container that is being restored. `create` becomes `runc
// restore`, which leaves the processes stopped; `start` lets them run; every
// other command goes to runc unchanged, but for one of its own, `decrypt`, which
// makes an encrypted checkpoint ready. In a restore it also stands in for criu.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	failpoint "github.com/rekindle-dev/rekindle/fail"
)

func main() {
	// A child's parent-death signal fires when the thread that made it ends.
	runtime.LockOSThread()
	if filepath.Base(os.Args[0]) == criu.Standin {
		fail(criu.Call{}, criu.BecomeCRIU(os.Args))
	}
	if len(os.Args) > 1 && os.Args[1] == decryptVerb {
		// The shim bounds it.
		if err := decrypt(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	call, err := criu.ParseCall(os.Args[1:])
	if err != nil {
		fail(call, pass("runc"))
	}
	order, ordered := orderFor(call)
	switch {
	case ordered && call.Command == "create":
		ctx, cancel := context.WithTimeout(context.Background(), order.Timeout)
		defer cancel()
		err := failpoint.ExecutorRestore.Hit()
		if err == nil {
			err = restore(ctx, call, order)
		}
		if err != nil {
			fail(call, err)
		}
	case ordered && call.Command == "start":
		err := failpoint.ExecutorStart.Hit()
		if err == nil && !order.AtOnce && !order.Stand {
			err = criu.Continue(call.ID, order.OOMScoreAdj)
		}
		if err != nil {
			fail(call, err)
		}
	default:
		fail(call, pass(order.Runc))
	}
}

// orderFor reads the shim's order for the container of a call. Without one, runc
// is taken from PATH.
func orderFor(call criu.Call) (api.Restore, bool) {
	order := api.Restore{Runc: "runc"}
	dir, err := api.ContainerDirOf(call.ID)
	if err != nil || dir.Read(&order) != nil {
		return order, false
	}
	return order, true
}

// pass becomes runc; it returns only when that fails.
func pass(runc string) error {
	path, err := exec.LookPath(runc)
	if err != nil {
		return fmt.Errorf("find runc: %w", err)
	}
	return syscall.Exec(path, append([]string{runc}, os.Args[1:]...), os.Environ())
}

// fail ends the program as runc does: the message goes to standard error and,
// as a JSON line, to the log in which containerd looks for it.
func fail(call criu.Call, err error) {
	fmt.Fprintln(os.Stderr, "rekindle-runc:", err)
	if call.Log != "" {
		line, _ := json.Marshal(map[string]string{
			"level": "error", "msg": err.Error(), "time": time.Now().Format(time.RFC3339),
		})
		if f, err := os.OpenFile(call.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
			_, _ = f.Write(append(line, '\n'))
			_ = f.Close()
		}
	}
	os.Exit(1)
}
