// Command etcd is etcd's own server: the module proxy has no buildable etcd
// command, because etcd's root module replaces its parts by folders.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
