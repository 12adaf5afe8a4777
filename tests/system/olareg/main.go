// SPDX-License-Identifier: Apache-2.0

// Serves olareg, a registry that shares no code with Distribution, on the address and the directory of its arguments.
package main

import (
	"fmt"
	"os"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

func main() {
	t := true
	c := config.Config{Storage: config.ConfigStorage{StoreType: config.StoreDir, RootDir: os.Args[2]}, API: config.ConfigAPI{DeleteEnabled: &t}}
	c.HTTP.Addr = os.Args[1]
	if err := olareg.New(c).Run(nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
