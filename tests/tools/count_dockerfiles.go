// SPDX-License-Identifier: Apache-2.0

// Parses files with BuildKit's parser. usage: count_dockerfiles FILE…   a line each, as parse_dockerfiles.c prints them.
package main

import (
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func count(path string) (int, int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	tree, err := parser.Parse(f)
	if err != nil {
		return 0, 0, err
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return 0, 0, err
	}
	n := len(args)
	for _, s := range stages {
		n += 1 + len(s.Commands)
	}
	return len(stages), n, nil
}

func main() {
	for _, path := range os.Args[1:] {
		stages, n, err := count(path)
		if err != nil {
			fmt.Printf("error %s: %q\n", path, err.Error())
		} else {
			fmt.Printf("%d %d %s\n", stages, n, path)
		}
	}
}
