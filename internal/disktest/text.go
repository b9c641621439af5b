package disktest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"testing"
)

// LogText is what containers write, as containerd stores it: JSON, klog and
// access lines.
func LogText(size int) []byte {
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

// GzipText returns text as the standard library compresses it, which is what the
// kubelet uses.
func GzipText(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// NumberedLines writes n lines as TestHelperWriter does.
func NumberedLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%010d the quick brown fox jumps over the lazy dog, again!\n", i)
	}
	return b.Bytes()
}
