package containerlog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// simulation is one container that writes numbered lines, with real files and a clock of
// its own: what a busy machine does to the one who runs it changes nothing.
type simulation struct {
	t     testing.TB
	root  string
	file  string
	log   *os.File // the container's
	now   time.Time
	rate  int // bytes a second
	lines int
	wrote uint64
	full  int // writes that were refused for lack of space

	kubelet *kubelet       // or nil
	tune    *Rotator       // or nil
	pressed func() bool    // what tune is called with
	each    func(step int) // what else happens in a step
	acts    []logdir.Action
}

const lineBytes = 128

// newSimulation returns a container whose log has the limit and five files. Times are
// the kubelet's.
func newSimulation(t testing.TB, root string, limit int64, rate int) *simulation {
	t.Helper()
	_, file := disktest.PodLog(t, root, "web")
	s := &simulation{t: t, root: root, file: file, now: time.Now(), rate: rate, pressed: func() bool { return false }}
	disktest.Must(t, s.reopen())
	t.Cleanup(func() { _ = s.log.Close() })
	s.kubelet = &kubelet{limit: limit, maxFiles: 5, reopen: s.reopen, now: func() time.Time { return s.now }}
	return s
}

// addNodetune lets nodetune rotate, too, with the kubelet's limit.
func (s *simulation) addNodetune(limit int64) {
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes, k.LogMaxFiles = limit, s.kubelet.maxFiles
	b, err := New("/proc", s.root, k, 5*time.Second, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return s.reopen() }}, nil
	})
	disktest.Must(s.t, err)
	s.t.Cleanup(func() { _ = b.Close() })
	s.tune = b
}

func (s *simulation) reopen() error {
	if s.log != nil {
		_ = s.log.Close()
	}
	var err error
	s.log, err = os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	return err
}

// write writes what the container writes in a step. A line that is refused is lost, as
// it is with containerd.
func (s *simulation) write() {
	n := int(float64(s.rate)*PollInterval.Seconds()) / lineBytes
	lines := bytes.Repeat([]byte("0000000000"+strings.Repeat("x", lineBytes-11)+"\n"), n)
	for i := range n {
		at := lines[i*lineBytes:]
		for k, v := 9, s.lines+i; k >= 0; k, v = k-1, v/10 {
			at[k] = byte('0' + v%10)
		}
	}
	s.lines += n
	m, err := s.log.Write(lines)
	s.wrote += uint64(m)
	if err != nil {
		s.full += n - m/lineBytes
	}
	// What the kernel has of the file is of the real clock.
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, s.file, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(s.now.UnixNano())}, 0)
}

// run goes on for d.
func (s *simulation) run(d time.Duration) {
	s.t.Helper()
	for step := range int(d / PollInterval) {
		s.now = s.now.Add(PollInterval)
		s.write()
		if s.kubelet != nil && step%int(10*time.Second/PollInterval) == 0 {
			s.kubelet.look(s.t, s.file)
		}
		if s.tune != nil {
			for _, a := range append(s.tune.Pass(s.t.Context(), s.pressed(), s.now), s.tune.FinishRotations(s.t.Context(), s.now)...) {
				if skipped := (*logdir.SkippedError)(nil); a.Err != nil && !errors.As(a.Err, &skipped) {
					s.t.Error(a.Err)
				}
				s.acts = append(s.acts, a)
			}
		}
		if s.each != nil {
			s.each(step)
		}
	}
}

// poller opens, reads and closes a log. A smart one also reads the archives that it has
// not seen; none reads what is compressed.
type poller struct {
	smart  bool
	offset map[identity]int64
	got    map[int]bool
	rest   map[identity][]byte
}

// identity is a file: an inode is used again for the next one.
type identity struct {
	ino  uint64
	born unix.StatxTimestamp
}

func newPoller(smart bool) *poller {
	return &poller{smart: smart, offset: map[identity]int64{}, got: map[int]bool{}, rest: map[identity][]byte{}}
}

func (p *poller) poll(t testing.TB, file string) {
	t.Helper()
	files := []string{file}
	if p.smart {
		archives, err := filepath.Glob(file + ".*")
		disktest.Must(t, err)
		archives = slices.DeleteFunc(archives, func(n string) bool { return strings.HasSuffix(n, ".gz") || strings.HasSuffix(n, ".tmp") })
		slices.Sort(archives)
		files = append(archives, file)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		var st unix.Statx_t
		disktest.Must(t, hostfs.Statx(int(f.Fd()), hostfs.Self, &st))
		at := identity{st.Ino, st.Btime}
		_, err = f.Seek(p.offset[at], io.SeekStart)
		disktest.Must(t, err)
		b, err := io.ReadAll(f)
		disktest.Must(t, err)
		_ = f.Close()
		p.offset[at] += int64(len(b))
		text := append(p.rest[at], b...)
		for len(text) >= lineBytes {
			n := 0
			for _, c := range text[:10] {
				n = n*10 + int(c-'0')
			}
			p.got[n] = true
			text = text[lineBytes:]
		}
		p.rest[at] = bytes.Clone(text)
	}
}
