// SPDX-License-Identifier: Apache-2.0

// Distribution 3, as its own program has it (the same application, configuration and access log), but for the storage of
// clouds and the tracing, which are most of what it takes to build it. usage: registry serve CONFIG
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	gorilla "github.com/gorilla/handlers"
)

func serve(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	config, err := configuration.Parse(file)
	if err != nil {
		return err
	}
	handler := gorilla.CombinedLoggingHandler(os.Stdout, handlers.NewApp(context.Background(), config))
	if tls := config.HTTP.TLS; tls.Certificate != "" {
		return http.ListenAndServeTLS(config.HTTP.Addr, tls.Certificate, tls.Key, handler)
	}
	return http.ListenAndServe(config.HTTP.Addr, handler)
}

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: registry serve CONFIG")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, serve(os.Args[2]))
	os.Exit(1)
}
