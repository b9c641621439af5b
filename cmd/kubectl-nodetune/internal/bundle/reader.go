package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Bundle is a file that [Writer] wrote, or that claims to be one.
type Bundle struct {
	file     string
	maxBytes int64
	Manifest Manifest
}

// ErrNoEntry is that the bundle has not what was asked for.
var ErrNoEntry = errors.New("it is not in the bundle")

// Open reads the manifest of a bundle.
func Open(file string) (*Bundle, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	b := &Bundle{file: file, maxBytes: maxReadBytes}
	raw, err := b.Entry(manifestName)
	if err == nil {
		err = json.Unmarshal(raw, &b.Manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a bundle of kubectl nodetune: %w", file, err)
	}
	if b.Manifest.Kind != kind {
		return nil, fmt.Errorf("%s is not a bundle of kubectl nodetune: its kind is %.40q", file, b.Manifest.Kind)
	}
	return b, nil
}

// Report returns the report of a node.
func (b *Bundle) Report(node string) ([]byte, error) {
	return b.Entry(reportsDir + node + ".json")
}

// Nodes returns the document of `nodes`.
func (b *Bundle) Nodes() (Nodes, error) {
	raw, err := b.Entry(nodesName)
	if err != nil {
		return Nodes{}, err
	}
	var d Nodes
	return d, json.Unmarshal(raw, &d)
}

// Reports returns the names of the nodes that have a report.
func (b *Bundle) Reports() ([]string, error) {
	var nodes []string
	err := b.walk(func(name string, _ io.Reader) (bool, error) {
		if node, ok := reportNode(name); ok {
			nodes = append(nodes, node)
		}
		return true, nil
	})
	return nodes, err
}

// reportNode returns the node of an entry that holds a report.
func reportNode(entry string) (string, bool) {
	rest, ok := strings.CutPrefix(entry, reportsDir)
	node, suffix := strings.CutSuffix(rest, ".json")
	return node, ok && suffix && len(content.IsDNS1123Subdomain(node)) == 0
}

// Entry returns an entry.
func (b *Bundle) Entry(want string) ([]byte, error) {
	var body []byte
	found := false
	err := b.walk(func(name string, r io.Reader) (bool, error) {
		if name != want {
			return true, nil
		}
		var err error
		body, err = io.ReadAll(io.LimitReader(r, maxEntryBytes+1))
		if err == nil && len(body) > maxEntryBytes {
			err = fmt.Errorf("entry %s is larger than %d MiB", want, maxEntryBytes>>20)
		}
		found = true
		return false, err
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", want, ErrNoEntry)
	}
	return body, err
}

// walk calls visit for each regular file until it returns false.
func (b *Bundle) walk(visit func(name string, r io.Reader) (bool, error)) error {
	f, err := os.Open(b.file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	limit := &io.LimitedReader{R: z, N: b.maxBytes}
	t := tar.NewReader(limit)
	for range maxEntries {
		h, err := t.Next()
		if limit.N <= 0 {
			return fmt.Errorf("it holds more than %d MiB", b.maxBytes>>20)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if more, err := visit(h.Name, t); err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("it has more than %d entries", maxEntries)
}
