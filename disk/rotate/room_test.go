package rotate

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// Another program writes to a small filesystem on which logs are copied in place and archives
// compressed that do not shrink, again and again, while a third one takes the rest of the
// space in the middle of it: nodetune gives up, and none of the writes fails.
func TestLossNoRoom(t *testing.T) {
	privtest.Root(t)
	writes := disktest.Scale(100_000)
	for _, c := range []struct {
		name string
		log  int64 // bytes of what is copied
		free int64 // that the third program leaves when it writes; 0: it writes nothing
		fits bool
	}{
		{"a copy that does not fit", 52 << 20, 0, false},
		{"a copy that fits", 24 << 20, 0, true},
		{"space that goes during the copy", 24 << 20, 12 << 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			mounted := filepath.Join(dir, "logs")
			disktest.Must(t, os.MkdirAll(mounted, 0o755))
			disktest.Must(t, unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=96m,mode=755"))
			t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
			avail := func() int64 {
				var st unix.Statfs_t
				disktest.Must(t, unix.Statfs(mounted, &st))
				return int64(st.Bavail) * st.Bsize
			}
			text := make([]byte, c.log)
			_, _ = rand.Read(text)
			inPlace, archived := filepath.Join(mounted, "app.log"), filepath.Join(mounted, "old.log.20260131-120000000000")

			stop := make(chan struct{})
			var running sync.WaitGroup
			failed, wrote, least := 0, 0, int64(1)<<62
			running.Go(func() { // the other program: its file grows to 1 MiB, again and again
				f, err := os.OpenFile(filepath.Join(mounted, "other"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
				disktest.Must(t, err)
				defer f.Close()
				page := make([]byte, 4096)
				for ; ; wrote++ {
					select {
					case <-stop:
						if wrote >= writes {
							return
						}
					default:
					}
					if wrote%256 == 0 {
						_ = f.Truncate(0)
						least = min(least, avail())
					}
					if _, err := f.Write(page); err != nil {
						failed++
					}
				}
			})
			// take is the third one: it takes space when a copy has begun.
			take := func(acted <-chan struct{}) {
				for c.free > 0 {
					copies, _ := filepath.Glob(mounted + "/.*")
					for _, p := range copies {
						if st, err := os.Stat(p); err != nil || st.Size() == 0 {
							continue
						}
						f, err := os.Create(filepath.Join(mounted, "images"))
						disktest.Must(t, err)
						defer f.Close()
						for n := int64(0); avail() > c.free; n += 1 << 20 {
							disktest.Must(t, unix.Fallocate(int(f.Fd()), 0, n, 1<<20))
						}
						return
					}
					select {
					case <-acted:
						return
					case <-time.After(50 * time.Microsecond):
					}
				}
			}
			r := newRotator(t, dir)
			done, gaveUp := 0, 0
			for round := range max(disktest.Scale(40), 6) {
				file := inPlace
				if round%2 == 1 {
					file = archived
				}
				disktest.Must(t, os.WriteFile(file, text, 0o600))
				acted := make(chan struct{})
				var taking sync.WaitGroup
				taking.Go(func() { take(acted) })
				var err error
				if file == inPlace {
					_, err = r.Rotate(t.Context(), file, Options{InPlace: true, Compress: archive.None}, time.Now())
				} else {
					disktest.Must(t, os.Chtimes(file, disktest.Epoch, disktest.Epoch))
					_, err = r.FinishRotation(t.Context(), filepath.Join(mounted, "old.log"), Options{Compress: archive.Gzip}, time.Now())
				}
				if err != nil {
					gaveUp++
				} else {
					done++
				}
				close(acted)
				taking.Wait()
				_ = os.Remove(filepath.Join(mounted, "images"))
				all, _ := filepath.Glob(mounted + "/*.log*")
				hidden, _ := filepath.Glob(mounted + "/.*")
				if len(hidden) != 0 {
					t.Errorf("left behind: %v", hidden)
				}
				for _, p := range all {
					disktest.Must(t, os.Remove(p))
				}
			}
			close(stop)
			running.Wait()
			t.Logf("%d writes of another program, %d failed; %d acts, %d given up; least available %s", wrote, failed, done, gaveUp, fmt.Sprint(least))
			if failed != 0 {
				t.Errorf("%d writes of another program failed", failed)
			}
			if c.fits && done == 0 || !c.fits && c.free == 0 && (done != 0 || gaveUp == 0) {
				t.Errorf("%d acts, %d given up", done, gaveUp)
			}
		})
	}
}
