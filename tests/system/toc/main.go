// SPDX-License-Identifier: Apache-2.0

// The reference readers and writers of layers with a table of contents, as judges.
//
//	toc estargz BLOB TOC-DIGEST             verifies table, files and every chunk; prints "TYPE NAME SIZE DIGEST" of each entry
//	toc chunked BLOB ANNOTATIONS DIR        pulls the layer partially into a containers/storage at DIR; prints its diff id, how
//	                                        many bytes of the blob were asked for, and the files as above
//	toc write-estargz|write-chunked TAR BLOB    prints the annotations
//	toc json-estargz|json-chunked BLOB      prints the text of the table
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/chunked"
	"go.podman.io/storage/pkg/chunked/compressor"
	"go.podman.io/storage/pkg/reexec"
)

func open(path string) (*os.File, *io.SectionReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	return f, io.NewSectionReader(f, 0, st.Size()), nil
}

// ---- eStargz

func walk(e *estargz.TOCEntry, visit func(*estargz.TOCEntry) error) error {
	if err := visit(e); err != nil {
		return err
	}
	var names []string
	e.ForeachChild(func(name string, _ *estargz.TOCEntry) bool {
		names = append(names, name)
		return true
	})
	sort.Strings(names)
	for _, name := range names {
		child, _ := e.LookupChild(name)
		if child.Type == "dir" {
			if err := walk(child, visit); err != nil {
				return err
			}
		} else if err := visit(child); err != nil {
			return err
		}
	}
	return nil
}

func checkFile(r *estargz.Reader, v estargz.TOCEntryVerifier, e *estargz.TOCEntry) error {
	data, err := r.OpenFile(e.Name)
	if err != nil {
		return err
	}
	for at := int64(0); at < e.Size; {
		chunk, ok := r.ChunkEntryForOffset(e.Name, at)
		if !ok {
			return fmt.Errorf("no chunk at %d", at)
		}
		verifier, err := v.Verifier(chunk)
		if err != nil {
			return err
		}
		if _, err := io.Copy(verifier, io.NewSectionReader(data, chunk.ChunkOffset, chunk.ChunkSize)); err != nil {
			return err
		}
		if !verifier.Verified() {
			return fmt.Errorf("the chunk at %d is not what its digest says", at)
		}
		at += chunk.ChunkSize
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, data); err != nil || n != e.Size {
		return fmt.Errorf("%d of %d bytes: %w", n, e.Size, err)
	}
	if got := digest.NewDigest(digest.SHA256, sum); got.String() != e.Digest {
		return fmt.Errorf("is %s, not %s", got, e.Digest)
	}
	return nil
}

func readEstargz(path, want string) error {
	_, blob, err := open(path)
	if err != nil {
		return err
	}
	r, err := estargz.Open(blob)
	if err != nil {
		return err
	}
	v, err := r.VerifyTOC(digest.Digest(want))
	if err != nil {
		return err
	}
	root, ok := r.Lookup("")
	if !ok {
		return errors.New("no root")
	}
	return walk(root, func(e *estargz.TOCEntry) error {
		if e.Type == "reg" {
			if err := checkFile(r, v, e); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
		fmt.Println(e.Type, e.Name, e.Size, e.Digest)
		return nil
	})
}

func writeEstargz(tar, blob string) error {
	_, in, err := open(tar)
	if err != nil {
		return err
	}
	b, err := estargz.Build(in)
	if err != nil {
		return err
	}
	out, err := os.Create(blob)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, b); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{estargz.TOCJSONDigestAnnotation: b.TOCDigest().String()})
}

func jsonEstargz(blob string) error {
	_, in, err := open(blob)
	if err != nil {
		return err
	}
	offset, footer, err := estargz.OpenFooter(in)
	if err != nil {
		return err
	}
	text, err := new(estargz.GzipDecompressor).DecompressTOC(io.NewSectionReader(in, offset, in.Size()-offset-footer))
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, text)
	return err
}

// ---- zstd:chunked

func writeChunked(tar, blob string) error {
	in, err := os.Open(tar)
	if err != nil {
		return err
	}
	out, err := os.Create(blob)
	if err != nil {
		return err
	}
	annotations := map[string]string{}
	w, err := compressor.ZstdCompressor(out, annotations, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(annotations)
}

// Footer: eight little-endian numbers, the first two are where the table is.
func jsonChunked(blob string) error {
	_, in, err := open(blob)
	if err != nil {
		return err
	}
	footer := make([]byte, 64)
	if _, err := in.ReadAt(footer, in.Size()-64); err != nil {
		return err
	}
	number := func(i int) (v int64) {
		for k := 7; k >= 0; k-- {
			v = v<<8 | int64(footer[8*i+k])
		}
		return
	}
	if string(footer[56:]) != "GNUlInUx" || number(3) != 1 {
		return errors.New("no footer")
	}
	r, err := zstd.NewReader(io.NewSectionReader(in, number(0), number(1)))
	if err != nil {
		return err
	}
	n, err := io.Copy(os.Stdout, r)
	if err == nil && n != number(2) {
		err = fmt.Errorf("%d bytes, not %d", n, number(2))
	}
	return err
}

type source struct {
	*io.SectionReader
	asked uint64
}

func (s *source) GetBlobAt(chunks []chunked.ImageSourceChunk) (chan io.ReadCloser, chan error, error) {
	streams, errs := make(chan io.ReadCloser), make(chan error, 1)
	for _, c := range chunks {
		s.asked += c.Length
	}
	go func() {
		for _, c := range chunks {
			streams <- io.NopCloser(io.NewSectionReader(s.SectionReader, int64(c.Offset), int64(c.Length)))
		}
		close(streams)
		close(errs)
	}()
	return streams, errs, nil
}

func list(root string) error {
	return filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if os.IsNotExist(err) { // a whiteout
			return nil
		}
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case info.IsDir():
			fmt.Println("dir", name, 0)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Println("reg", name, info.Size(), digest.FromBytes(data))
		default:
			fmt.Println("other", name, 0)
		}
		return nil
	})
}

func pull(blob, annotations, dir string) error {
	_, in, err := open(blob)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(annotations)
	if err != nil {
		return err
	}
	var notes map[string]string
	if err := json.Unmarshal(text, &notes); err != nil {
		return err
	}
	whole, err := io.ReadAll(io.NewSectionReader(in, 0, in.Size()))
	if err != nil {
		return err
	}
	store, err := storage.GetStore(storage.StoreOptions{
		RunRoot: filepath.Join(dir, "run"), GraphRoot: filepath.Join(dir, "graph"), GraphDriverName: "overlay",
		PullOptions: map[string]string{"enable_partial_images": "true"},
	})
	if err != nil {
		return err
	}
	src := &source{SectionReader: in}
	differ, err := chunked.NewDiffer(context.Background(), store, digest.FromBytes(whole), in.Size(), notes, src)
	if err != nil {
		return err
	}
	out, err := store.PrepareStagedLayer(nil, differ)
	if err != nil {
		return err
	}
	layer, err := store.ApplyStagedLayer(storage.ApplyStagedLayerOptions{ID: "judged", DiffOutput: out, DiffOptions: nil})
	if err != nil {
		return err
	}
	fmt.Println("diffid", layer.UncompressedDigest)
	fmt.Println("asked", src.asked, "of", in.Size())
	tar, err := store.Diff("", layer.ID, nil)
	if err != nil {
		return err
	}
	sum, err := digest.FromReader(tar)
	if err != nil {
		return err
	}
	if err := tar.Close(); err != nil { // it holds the store's lock
		return err
	}
	fmt.Println("tar", sum)
	mount, err := store.Mount(layer.ID, "")
	if err != nil {
		return err
	}
	if err := list(mount); err != nil {
		return err
	}
	if _, err := store.Unmount(layer.ID, true); err != nil {
		return err
	}
	_, err = store.Shutdown(true)
	return err
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "estargz":
		return readEstargz(args[1], args[2])
	case len(args) == 4 && args[0] == "chunked":
		return pull(args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "write-estargz":
		return writeEstargz(args[1], args[2])
	case len(args) == 3 && args[0] == "write-chunked":
		return writeChunked(args[1], args[2])
	case len(args) == 2 && args[0] == "json-estargz":
		return jsonEstargz(args[1])
	case len(args) == 2 && args[0] == "json-chunked":
		return jsonChunked(args[1])
	}
	return errors.New("usage: see main.go")
}

func main() {
	if reexec.Init() {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "toc:", err)
		os.Exit(1)
	}
}
