package disk

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
)

func TestEncodeDecode(t *testing.T) {
	text := disktest.LogText(1 << 20)
	for _, c := range []Compression{Gzip, Zstd} {
		dir := &folder{fd: disktest.Open(t, t.TempDir(), 0), path: "x"}
		f, err := dir.create("a")
		disktest.Must(t, err)
		n, err := encode(context.Background(), f, bytes.NewReader(text), c)
		disktest.Must(t, err)
		m, sum, err := decode(f, c)
		if err != nil || n != int64(len(text)) || m != n {
			t.Errorf("%s: %d bytes in, %d out, %v", c, n, m, err)
		}
		if err := verify(f, c, n, sum); err != nil {
			t.Error(err)
		}
		if err := verify(f, c, n, sum+1); err == nil {
			t.Errorf("%s: another checksum passes", c)
		}
		st, err := f.Stat()
		disktest.Must(t, err)
		disktest.Must(t, f.Truncate(st.Size()-3))
		if err := verify(f, c, n, sum); err == nil {
			t.Errorf("%s: cut short, it passes", c)
		}
		_ = f.Close()
	}
}

// What the kubelet's compression (compress/gzip, its default level 6) and this
// one make of the same text.
func BenchmarkCompress(b *testing.B) {
	text := disktest.LogText(8 << 20)
	bench := func(name string, do func(w io.Writer) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			var out counter
			for b.Loop() {
				out = 0
				if err := do(&out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(text))/float64(out), "ratio")
		})
	}
	bench("kubelet", func(w io.Writer) error {
		z := stdgzip.NewWriter(w)
		if _, err := z.Write(text); err != nil {
			return err
		}
		return z.Close()
	})
	for _, c := range []Compression{Gzip, Zstd} {
		bench(string(c), func(w io.Writer) error {
			_, err := encode(context.Background(), w, bytes.NewReader(text), c)
			return err
		})
	}
}

type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// A pass over 1,000 logs of which none has grown.
func BenchmarkBurstsIdle(b *testing.B) {
	root := b.TempDir()
	for i := range 1000 {
		_, file := disktest.PodLog(b, root, fmt.Sprintf("c%d", i))
		disktest.WriteFile(b, file, "x\n")
	}
	x, err := NewBursts("/proc", root, defaultKubelet(), 0, nil)
	disktest.Must(b, err)
	b.Cleanup(func() { x.Close() })
	x.Pass(context.Background(), false, disktest.Noon)
	b.ReportAllocs()
	for b.Loop() {
		if acts := x.Pass(context.Background(), false, disktest.Noon); len(acts) != 0 {
			b.Fatal(acts)
		}
	}
	b.ReportMetric(1000, "logs")
}
