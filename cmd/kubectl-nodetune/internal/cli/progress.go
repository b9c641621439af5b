package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// progress returns a function that shows on a terminal how many agents have
// answered, and one that removes what is shown.
func progress(w io.Writer) (step func(done, all int), end func()) {
	f, ok := w.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !ok {
		return func(int, int) {}, func() {}
	}
	var mu sync.Mutex
	return func(done, all int) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(w, "\rkubectl-nodetune: %d of %d agents", done, all)
		}, func() {
			fmt.Fprint(w, "\r                                                  \r")
		}
}
