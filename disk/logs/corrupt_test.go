package logs

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

func TestCorruptArchives(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	at := func(name string) string { return filepath.Join(host, "var/log/pods", disktest.PodA, name) }
	whole := disktest.GzipText(t, bytes.Repeat([]byte("2026-01-01T00:00:00Z stdout F line\n"), 10_000))
	flipped := slices.Clone(whole)
	flipped[len(flipped)-6] ^= 1 // the checksum
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zst := enc.EncodeAll(bytes.Repeat([]byte("line\n"), 10_000), nil)
	content := map[string][]byte{
		"0.log":                    []byte("live"),
		"0.log.20260101-000000.gz": whole,
		"0.log.20260101-000001.gz": whole[:len(whole)-4], // Close failed: ENOSPC
		"0.log.20260101-000002.gz": whole[:len(whole)/2],
		"0.log.20260101-000003.gz": {},
		"0.log.20260101-000004.gz": []byte("plain text"),
		"0.log.20260101-000005.gz": flipped,
		"0.log.1.zst":              zst,
		"0.log.2.zst":              zst[:len(zst)-3],
		"0.log.20260101-000006":    []byte("not compressed"),
	}
	for name, b := range content {
		disktest.Append(t, at(name), 0)
		if err := os.WriteFile(at(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour) // they have settled
	tr := newTree()
	look := func(want ...string) {
		t.Helper()
		tr.CheckArchives(t.Context(), root, 1<<30)
		var got []string
		for _, c := range tr.CorruptArchives() {
			got = append(got, strings.TrimPrefix(filepath.Base(c.Path), "0.log."))
			if c.Log.Pod != "web-7d4b9" || c.Error == "" {
				t.Errorf("%+v", c)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("corrupt %q, want %q", got, want)
		}
	}
	if err := tr.Update(root, later, false); err != nil {
		t.Fatal(err)
	}
	look("2.zst", "20260101-000001.gz", "20260101-000002.gz", "20260101-000003.gz", "20260101-000004.gz", "20260101-000005.gz")

	// None is read twice, what is gone is forgotten, what is new is read.
	if err := tr.Update(root, later, true); err != nil {
		t.Fatal(err)
	}
	if len(tr.queue) != 0 {
		t.Errorf("%d archives are to be read again", len(tr.queue))
	}
	if err := os.Remove(at("0.log.20260101-000002.gz")); err != nil {
		t.Fatal(err)
	}
	disktest.Append(t, at("0.log.20260101-000007.gz"), 10)
	if err := tr.Update(root, later.Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	look("2.zst", "20260101-000001.gz", "20260101-000003.gz", "20260101-000004.gz", "20260101-000005.gz", "20260101-000007.gz")
}

// An archive that is open for writing is not reported.
func TestArchiveBeingWritten(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	at := filepath.Join(host, "var/log/syslog.1.gz")
	disktest.Append(t, at, 10)
	_ = disktest.Open(t, at, unix.O_WRONLY)
	tr := newTree()
	if err := tr.Update(root, time.Now().Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	tr.CheckArchives(t.Context(), root, 1<<30)
	if got := tr.CorruptArchives(); len(got) != 0 || tr.Skipped[skipUnchecked] != 1 {
		t.Errorf("%+v, skipped %v", got, tr.Skipped)
	}
}

// The budget ends a pass, and the next pass continues.
func TestArchiveBudget(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	for _, name := range []string{"a.1.gz", "b.1.gz", "c.1.gz"} {
		disktest.Append(t, filepath.Join(host, "var/log", name), 10)
	}
	tr := newTree()
	if err := tr.Update(root, time.Now().Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	tr.CheckArchives(t.Context(), root, 0)
	if len(tr.queue) != 3 {
		t.Errorf("%d left of 3 without a budget", len(tr.queue))
	}
	for left := 2; left >= 0; left-- { // nothing comes out of them, and each counts
		tr.CheckArchives(t.Context(), root, 1)
		if len(tr.queue) != left || len(tr.CorruptArchives()) != 3-left {
			t.Errorf("%d left, want %d, corrupt %v", len(tr.queue), left, tr.CorruptArchives())
		}
	}
}

// What the standard library reads to its end is whole, and nothing else is.
// It takes a header with reserved flags, which gzip(1) and nodetune refuse.
func FuzzUnpackGzip(f *testing.F) {
	whole := disktest.GzipText(f, []byte("a line\n"))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	reserved := slices.Clone(whole)
	reserved[3] |= 1 << 6
	f.Add(reserved)
	f.Add(slices.Concat(whole, reserved))
	f.Add(slices.Concat(whole, named))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := unpackGzip(&metered{ctx: t.Context(), r: bytes.NewReader(b)})
		want, wantErr := unpackMembers(b)
		if (err == nil) != (wantErr == nil) || err == nil && n != want {
			t.Fatalf("%d bytes, %v; compress/gzip says %d, %v", n, err, want, wantErr)
		}
	})
}

// named is the beginning of a header with a file's name, which is cut within the name.
var named = []byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03sysl")

func unpackMembers(b []byte) (sum int64, err error) {
	src := bytes.NewReader(b)
	var r stdgzip.Reader
	for members := 0; members == 0 || src.Len() > 0; members++ {
		if rest := b[len(b)-src.Len():]; len(rest) > 3 && rest[3]>>5 != 0 {
			return sum, stdgzip.ErrHeader
		}
		if err := r.Reset(src); err != nil {
			return sum, err
		}
		r.Multistream(false)
		n, err := io.Copy(io.Discard, io.LimitReader(&r, maxUnpacked))
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// A header that is cut is not the end of an archive: a crash may have ended there.
func TestUnpackCutHeader(t *testing.T) {
	whole := disktest.GzipText(t, []byte("a line\n"))
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"whole":                {whole, ""},
		"nothing":              {nil, errEmpty.Error()},
		"the first":            {named, "not an archive: unexpected EOF"},
		"the second's name":    {slices.Concat(whole, named), "after 7 bytes: unexpected EOF"},
		"the second's extra":   {slices.Concat(whole, []byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x03\x04\x00")), "after 7 bytes: unexpected EOF"},
		"the second's comment": {slices.Concat(whole, []byte("\x1f\x8b\x08\x10\x00\x00\x00\x00\x00\x03")), "after 7 bytes: unexpected EOF"},
	} {
		_, err := unpackGzip(&metered{ctx: t.Context(), r: bytes.NewReader(tt.b)})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzUnpackZstd(f *testing.F) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("a line\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		if len(text) == 0 {
			return
		}
		b := enc.EncodeAll(text, nil)
		if n, err := unpackZstd(&metered{ctx: t.Context(), r: bytes.NewReader(b)}); err != nil || n != int64(len(text)) {
			t.Fatalf("%d of %d bytes, %v", n, len(text), err)
		}
		if cut > 0 && cut < len(b) {
			if _, err := unpack(t.Context(), bytes.NewReader(b[:cut]), "x.zst"); err == nil {
				t.Fatalf("%d of %d bytes of an archive are taken for whole", cut, len(b))
			}
		}
	})
}
