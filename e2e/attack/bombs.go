package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// bombs writes files that expand, never end or claim to be large, to its volume and as
// lines to its log.
func bombs(until time.Time) string {
	n := 0
	for name, b := range map[string][]byte{
		"app.log.1.gz":               gzipBomb(512 << 20),
		"app.log.2.gz":               emptyMembers(4 << 20),
		"app.log.1.zst":              zstdBomb(4096),
		"journal/x/system.journal":   journalBomb(50_000),
		"app.log.20260101-000000.gz": gzipBomb(64 << 20),
	} {
		file := filepath.Join(volume, name)
		if os.MkdirAll(filepath.Dir(file), 0o755) == nil && os.WriteFile(file, b, 0o644) == nil {
			n++
		}
		_, _ = os.Stdout.Write(append(b[:min(len(b), 64<<10)], '\n')) // its log
		for i := range 1000 {
			_ = os.Link(file, fmt.Sprintf("%s.%d.gz", file, i))
		}
	}
	time.Sleep(time.Until(until))
	return fmt.Sprintf("%d files with 1,000 links each", n)
}

func gzipBomb(size int64) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = io.CopyN(w, zeros{}, size)
	_ = w.Close()
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// emptyMembers is gzip of which nothing comes out.
func emptyMembers(size int) []byte {
	member := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return bytes.Repeat(member, size/len(member))
}

// zstdBomb has a window of 64 MiB and blocks of 128 KiB of one byte each.
func zstdBomb(blocks int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (26 - 10) << 3}
	const header = 1<<1 | (128<<10)<<3
	for i := range blocks {
		h := uint32(header)
		if i == blocks-1 {
			h |= 1
		}
		b = append(b, byte(h), byte(h>>8), byte(h>>16), 'x')
	}
	return b
}

// journalBomb is a file with the signature of journald's, which claims many units.
func journalBomb(units int) []byte {
	const table, field = 272, 288
	b := make([]byte, 272)
	copy(b, "LPKSHHRH")
	binary.LittleEndian.PutUint64(b[120:], table)
	binary.LittleEndian.PutUint64(b[128:], 16)
	b = binary.LittleEndian.AppendUint64(b, field)
	b = binary.LittleEndian.AppendUint64(b, field)
	object := func(kind byte, header int, payload string, next func(end int) uint64, at int) {
		begin := len(b)
		b = append(b, make([]byte, header)...)
		b[begin] = kind
		binary.LittleEndian.PutUint64(b[begin+8:], uint64(header+len(payload)))
		b = append(b, payload...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		binary.LittleEndian.PutUint64(b[begin+at:], next(len(b)))
	}
	object(2, 40, "_SYSTEMD_UNIT", func(end int) uint64 { return uint64(end) }, 32)
	for i := range units {
		object(1, 64, fmt.Sprintf("_SYSTEMD_UNIT=kubelet-%06d.service", i), func(end int) uint64 {
			if i == units-1 {
				return 0
			}
			return uint64(end)
		}, 32)
	}
	binary.LittleEndian.PutUint64(b[136:], uint64(len(b)))
	binary.LittleEndian.PutUint64(b[152:], uint64(units))
	return b
}
