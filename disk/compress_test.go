package disk

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// logText is what containers write, as containerd stores it: JSON, klog and
// access lines.
func logText(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "2026-01-31T12:%02d:%02d.%09dZ stdout F ", i/60%60, i%60, r.IntN(1e9))
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, `{"level":"info","ts":"2026-01-31T12:00:00Z","caller":"server/http.go:%d","msg":"request served","method":"GET","path":"/api/v1/items/%d","status":200,"duration_ms":%d,"trace_id":"%016x"}`+"\n", r.IntN(400), r.IntN(100000), r.IntN(900), r.Uint64())
		case 1:
			fmt.Fprintf(&b, "I0131 12:00:00.%06d %7d controller.go:%d] \"Reconciled\" namespace=\"team-%d\" name=\"web-%d\" resourceVersion=\"%d\"\n", r.IntN(1e6), r.IntN(1e6), r.IntN(900), r.IntN(40), r.IntN(300), r.IntN(1e8))
		default:
			fmt.Fprintf(&b, "10.%d.%d.%d - - [31/Jan/2026:12:00:00 +0000] \"POST /login HTTP/1.1\" %d %d \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n", r.IntN(256), r.IntN(256), r.IntN(256), 200+r.IntN(4)*100, r.IntN(50000))
		}
	}
	return b.Bytes()
}

func TestEncodeDecode(t *testing.T) {
	text := logText(1 << 20)
	for _, c := range []Compression{Gzip, Zstd} {
		dir := &folder{fd: open(t, t.TempDir(), 0), path: "x"}
		f, err := dir.create("a")
		must(t, err)
		n, err := encode(context.Background(), f, bytes.NewReader(text), c)
		must(t, err)
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
		must(t, err)
		must(t, f.Truncate(st.Size()-3))
		if err := verify(f, c, n, sum); err == nil {
			t.Errorf("%s: cut short, it passes", c)
		}
		_ = f.Close()
	}
}

// What the kubelet's compression (compress/gzip, its default level 6) and this
// one make of the same text.
func BenchmarkCompress(b *testing.B) {
	text := logText(8 << 20)
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
		_, file := podLog(b, root, fmt.Sprintf("c%d", i))
		put(b, file, "x\n")
	}
	x, err := NewBursts("/proc", root, defaultKubelet(), 0, nil)
	must(b, err)
	b.Cleanup(func() { x.Close() })
	x.Pass(context.Background(), false, noon)
	b.ReportAllocs()
	for b.Loop() {
		if acts := x.Pass(context.Background(), false, noon); len(acts) != 0 {
			b.Fatal(acts)
		}
	}
	b.ReportMetric(1000, "logs")
}
