package errnotest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
)

// howEnv makes the test binary a process whose calls fail in this way.
const howEnv = "NODETUNE_TEST_FAIL"

func TestMain(m *testing.M) {
	how := os.Getenv(howEnv)
	if how == "" {
		os.Exit(m.Run())
	}
	if err := Fail(how, 200); err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
}

// TestMemoryWithSignals: a process gets its memory back also while the runtime
// preempts its busy thread, which it does by signals.
func TestMemoryWithSignals(t *testing.T) {
	privtest.Root(t)
	for _, how := range []string{Memory, WatchesMemory} {
		for range 5 {
			t.Run(how, func(t *testing.T) {
				var out strings.Builder
				cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
				cmd.Env = append(append(os.Environ(), howEnv+"="+how, "GOMAXPROCS=1"), Cgroup(t)...)
				cmd.Stdout = &out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				done := make(chan error)
				go func() { done <- cmd.Wait() }()
				for {
					select {
					case err := <-done:
						if err != nil {
							t.Errorf("%v: %s", err, &out)
						}
						return
					default:
						_ = cmd.Process.Signal(syscall.SIGURG)
					}
				}
			})
		}
	}
}
