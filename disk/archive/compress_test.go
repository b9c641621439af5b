package archive

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"io"
	"testing"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
)

func TestEncodeDecode(t *testing.T) {
	text := disktest.LogText(1 << 20)
	for _, c := range []Compression{Gzip, Zstd} {
		dir := &logdir.Dir{FD: disktest.Open(t, t.TempDir(), 0), Path: "x"}
		f, err := dir.Create("a")
		disktest.Must(t, err)
		n, err := encode(context.Background(), f, bytes.NewReader(text), c)
		disktest.Must(t, err)
		m, sum, err := Decode(f, c)
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
