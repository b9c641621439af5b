package guard

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

// flood writes 128 to a key, so many times a second for so many times; 0 is as
// fast as it can, and until it is killed. It reports the CPU time of it.
func flood(arg string) error {
	var key string
	var rate, times int
	if _, err := fmt.Sscan(arg, &key, &rate, &times); err != nil {
		return err
	}
	fd, err := unix.Open("/proc/sys/"+sysctl.Key(key).Path(), unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	began, text := time.Now(), []byte("128\n")
	for i := 0; times == 0 || i < times; i++ {
		if n, err := unix.Pwrite(fd, text, 0); n != len(text) || err != nil {
			return fmt.Errorf("wrote %d bytes: %w", n, err)
		}
		if rate > 0 && i%(rate/100) == 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		}
	}
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, time.Duration(use.Utime.Nano()+use.Stime.Nano()))
	return nil
}

func startFlood(t *testing.T, key sysctl.Key) (stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Env = append(os.Environ(), roleEnv+"=flood "+string(key)+" 0 0", "GOMAXPROCS=1")
	out := &bytes.Buffer{}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Errorf("the writer ended: %s", out)
		}
	}
}

// million reads a limit a million times, and opens and closes an instance at
// each hundredth, beside 200 that stay open: 128 would not allow it.
func million(t *testing.T, key sysctl.Key, floor int64) (reads, calls int) {
	t.Helper()
	f, err := os.Open("/proc/sys/" + key.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 200 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatalf("an instance beside 200 others: %v", err)
		}
		defer unix.Close(fd)
	}
	buf := make([]byte, 32)
	for reads < 1_000_000 {
		n, err := unix.Pread(int(f.Fd()), buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		v, err := strconv.ParseInt(string(bytes.TrimSpace(buf[:n])), 10, 64)
		if err != nil || v < floor {
			t.Fatalf("read %d holds %d, %v: below the floor", reads, v, err)
		}
		if reads++; reads%100 == 0 {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatalf("call %d: %v", calls, err)
			}
			unix.Close(fd)
			calls++
		}
	}
	return reads, calls
}

// TestFlood: of a flood at most a hundred a second are recorded, every other one
// is counted, and a reader that stops reading loses no count.
func TestFlood(t *testing.T) {
	privtest.Host(t)
	set(t, key, 16384)
	g := open(t, options(Observe, 8192))
	const rate, times = 10_000, 20_000
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=flood %s %d %d", roleEnv, key, rate, times), "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seconds := int(time.Since(began)/time.Second) + 2
	newWriter(t, "last", nil).write(key, "128\n") // may itself be suppressed
	time.Sleep(1100 * time.Millisecond)
	newWriter(t, "last", nil).write(key, "128\n")
	var recorded, suppressed uint64
	for {
		w := read(t, g)
		recorded++
		suppressed += w.Suppressed
		if w.Comm == "last" && recorded+suppressed >= times+2 {
			break
		}
	}
	if recorded+suppressed != times+2 || int(recorded) > 100*seconds+2 {
		t.Errorf("%d recorded and %d suppressed of %d in %d s", recorded, suppressed, times+2, seconds)
	}
	if c, err := g.Counts(); err != nil || c[key].Lowered != 1 || c[key].Same != times+1 || c[key].Suppressed != suppressed {
		t.Errorf("counted %+v, %v; %d suppressed", c[key], err, suppressed)
	}
}

// TestLatency: a write is read, and its key raised again, within 50 ms.
func TestLatency(t *testing.T) {
	privtest.Host(t)
	g := open(t, options(Observe, 8192))
	w := newWriter(t, "writer", nil)
	f, err := os.OpenFile("/proc/sys/"+key.Path(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []time.Duration
	for range 200 {
		w.write(key, "128\n")
		r := read(t, g)
		known := time.Since(r.Time)
		if _, err := f.WriteAt([]byte("8192\n"), 0); err != nil {
			t.Fatal(err)
		}
		all = append(all, known)
		time.Sleep(10 * time.Millisecond)
	}
	report(t, all)
}

func report(t *testing.T, all []time.Duration) {
	t.Helper()
	sortDurations(all)
	median, most := all[len(all)/2], all[len(all)-1]
	t.Logf("read after %v (median), %v (99 of 100), %v (at most)", median, all[len(all)*99/100], most)
	if all[len(all)*9/10] > 50*time.Millisecond {
		t.Errorf("nine of ten took up to %v, want 50 ms", all[len(all)*9/10])
	}
}
