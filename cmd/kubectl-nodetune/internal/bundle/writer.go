package bundle

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Writer writes a bundle. Its methods redact what they write.
type Writer struct {
	tar     *tar.Writer
	gzip    *gzip.Writer
	at      time.Time
	left    int64
	omitted []string
}

// NewWriter begins a bundle of at most maxBytes before compression.
func NewWriter(w io.Writer, m Manifest, maxBytes int64) (*Writer, error) {
	m.APIVersion, m.Kind = "nodetune.io/v1alpha1", kind
	z := gzip.NewWriter(w)
	b := &Writer{tar: tar.NewWriter(z), gzip: z, at: m.Created, left: maxBytes}
	return b, b.JSON(manifestName, m)
}

// Omit records what is not in the bundle.
func (b *Writer) Omit(what string) {
	b.omitted = append(b.omitted, string(Text([]byte(what))))
}

// JSON adds v as a document.
func (b *Writer) JSON(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.entry(name, JSON(raw))
}

// Report adds the report of a node.
func (b *Writer) Report(node string, raw []byte) error {
	return b.entry(reportsDir+node+".json", JSON(raw))
}

// Page adds what the page of a node shows, for 'nodetune page --from'.
func (b *Writer) Page(node string, raw []byte) error {
	return b.entry(pagesDir+node+".json", JSON(raw))
}

// Text adds a text, for example a log.
func (b *Writer) Text(name string, text []byte) error { return b.entry(name, Text(text)) }

func (b *Writer) entry(name string, body []byte) error {
	size := int64(len(body))
	switch {
	case size > maxEntryBytes:
		b.Omit(fmt.Sprintf("%s: larger than %d MiB", name, maxEntryBytes>>20))
		return nil
	case size > b.left:
		b.Omit(name + ": the bundle has reached --max-size")
		return nil
	}
	b.left -= size
	return b.add(name, body)
}

func (b *Writer) add(name string, body []byte) error {
	err := b.tar.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(body)), ModTime: b.at})
	if err != nil {
		return err
	}
	_, err = b.tar.Write(body)
	return err
}

// Close ends the bundle and returns what was left out.
func (b *Writer) Close() ([]string, error) {
	raw, err := json.MarshalIndent(Omissions{Omitted: append([]string{}, b.omitted...)}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := b.add("omitted.json", raw); err != nil {
		return nil, err
	}
	if err := b.tar.Close(); err != nil {
		return nil, err
	}
	return b.omitted, b.gzip.Close()
}
