//go:build peers

// SPDX-License-Identifier: Apache-2.0

// Names the programs of others that are built here as they are, so that go.mod and go.sum know what they need.
package peers

import (
	_ "github.com/google/go-containerregistry/cmd/crane"
	_ "oras.land/oras/cmd/oras"
)
