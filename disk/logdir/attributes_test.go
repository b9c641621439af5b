package logdir

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
)

// Attributes of every size are copied, and as many as a file of the test's filesystem
// can have.
func TestCopyAttributesOfAnySize(t *testing.T) {
	for _, size := range []int{0, 1, 1023, 1024, 1025, 3000} {
		dir := t.TempDir()
		from, err := os.Create(filepath.Join(dir, "from"))
		disktest.Must(t, err)
		to, err := os.Create(filepath.Join(dir, "to"))
		disktest.Must(t, err)
		value := bytes.Repeat([]byte("v"), size)
		disktest.Must(t, unix.Fsetxattr(int(from.Fd()), "user.large", value, 0))
		many := 0
		for ; many < 64; many++ { // 64 names are more than 1 KiB
			if unix.Fsetxattr(int(from.Fd()), fmt.Sprintf("user.attribute-with-a-long-name-%d", many), nil, 0) != nil {
				break
			}
		}
		disktest.Must(t, CopyAttributes(to, from))
		got := make([]byte, 64<<10)
		n, err := unix.Fgetxattr(int(to.Fd()), "user.large", got)
		if err != nil || !bytes.Equal(got[:n], value) {
			t.Errorf("%d bytes: %d, %v", size, n, err)
		}
		for i := range many {
			if _, err := unix.Fgetxattr(int(to.Fd()), fmt.Sprintf("user.attribute-with-a-long-name-%d", i), nil); err != nil {
				t.Errorf("attribute %d of %d: %v", i, many, err)
			}
		}
		_, _ = from.Close(), to.Close()
	}
}
