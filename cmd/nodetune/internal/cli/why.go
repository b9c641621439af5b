package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/procscan"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

func newWhy(o *options) *cobra.Command {
	var errno string
	var probe bool
	cmd := &cobra.Command{
		Use:   "why PID | COMM | POD | UNIT",
		Short: "Diagnose the limit a process has hit or will hit next",
		Long: `For a process that fails with errno 24 (EMFILE), 23 (ENFILE) or 28 (ENOSPC):
shows which limit it has hit, since the error itself does not. The limit is one of

  the inotify instances of its user   24  fs.inotify.max_user_instances
  the descriptors of the process      24  RLIMIT_NOFILE, which no sysctl raises
  the open files of the node          23  fs.file-max
  the inotify watches of its user     28  fs.inotify.max_user_watches

It also shows the use and the value of each, the largest users, what 'nodetune
apply' would change, and what else helps. Name the process by its pid, its comm,
its pod ([NAMESPACE/]POD[:CONTAINER]) or its systemd unit.

The exit code is 1 where a limit is reached.`,
		Example: `  sudo nodetune why fluent-bit
  sudo nodetune why logging/fluent-bit-x7k2p:fluent-bit --errno 24
  sudo nodetune why 4711 --probe -o json`,
		Args: requireArgs("why: which process? Give a pid, a comm, a pod or a unit", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseErrno(errno)
			if err != nil {
				return err
			}
			return o.why(cmd, args[0], n, probe)
		},
	}
	f := cmd.Flags()
	f.StringVar(&errno, "errno", "", "the error it fails with: 24, 23 or 28, or EMFILE, ENFILE, ENOSPC")
	f.BoolVar(&probe, "probe", false, "where the kernel's counters cannot be read, take up to 8 instances in the name\nof its user, to know for certain, and give them back at once (CAP_SETUID)")
	_ = cmd.RegisterFlagCompletionFunc("errno", cobra.FixedCompletions([]cobra.Completion{"24", "23", "28"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func parseErrno(s string) (int, error) {
	switch strings.ToUpper(s) {
	case "":
		return 0, nil
	case "24", "EMFILE":
		return 24, nil
	case "23", "ENFILE":
		return 23, nil
	case "28", "ENOSPC":
		return 28, nil
	}
	return 0, fmt.Errorf("--errno %q: want 24 (EMFILE), 23 (ENFILE) or 28 (ENOSPC)", s)
}

func (o *options) why(cmd *cobra.Command, name string, errno int, probe bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	find := func(h *accounting.Source) (int, error) { return findProcess(cmd, h, name) }
	i, err := inspect(cmd.Context(), o.Roots, cfg, find, probe)
	if err != nil {
		return err
	}
	d := diagnosis.Why(i.process, errno, i.usage, i.settings, i.ceilings)
	if err := o.print(cmd.OutOrStdout(), d, func(w io.Writer) error { return text.DiagnosisTable(w, d, colour(w)) }); err != nil {
		return errInput(err)
	}
	if d.Reached {
		return errNotMet(nil)
	}
	return nil
}

// inspection is what [diagnosis.Why] asks for.
type inspection struct {
	process  inotify.ProcessDetail
	usage    inotify.Usage
	settings sysctl.PassResult
	ceilings map[inotify.Resource]inotify.Limit
}

// inspect reads what decides which limit the process that find returns has hit or
// will hit.
func inspect(ctx context.Context, roots host.Roots, cfg config.Config, find func(*accounting.Source) (int, error), probe bool) (i inspection, err error) {
	h, err := accounting.Open(roots, cfg.Inotify)
	if err != nil {
		return i, errInput(err)
	}
	defer h.Close()
	pid, err := find(h)
	if err != nil {
		return i, err
	}
	if probe {
		if err := h.Probe(pid); err != nil {
			return i, notRunning(pid, err)
		}
	}
	if i.usage, err = h.Usage(ctx); err != nil {
		return i, errInput(err)
	}
	if i.process, err = h.Inspect(pid, i.usage); err != nil {
		return i, notRunning(pid, err)
	}
	settings := sysctlPass(ctx, roots, cfg, floorsFromUsage(i.usage, cfg.Inotify))
	if settings.Err != nil {
		return i, errInput(settings.Err)
	}
	i.settings = settings.Value
	seen := reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: i.usage}, Sysctl: settings}
	i.ceilings = seen.Ceilings(cfg.Inotify)
	return i, nil
}

func notRunning(pid int, err error) error {
	if procwalk.Gone(err) {
		return fmt.Errorf("there is no process %d", pid)
	}
	return errInput(err)
}

// findProcess returns the pid that name stands for.
func findProcess(cmd *cobra.Command, h *accounting.Source, name string) (int, error) {
	if pid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(pid), nil
	}
	if strings.Trim(name, " ") == "" {
		return 0, errors.New("want a pid, or the name of a program, a pod or a unit")
	}
	if err := h.RefreshNames(); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "nodetune: names of pods may be missing: %v\n", err)
	}
	found, err := h.Find(cmd.Context(), name)
	switch {
	case err != nil:
		return 0, errInput(err)
	case len(found) == 0:
		return 0, fmt.Errorf("no process, pod or unit matches %q; 'nodetune top --once --rows 0' lists the processes that use inotify", name)
	case len(found) > 1:
		return 0, ambiguous(name, found)
	}
	return found[0].PID, nil
}

// maxCandidates is as many as a person will choose from.
const maxCandidates = 20

func ambiguous(name string, found []procscan.ProcessName) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processes match %q, name one by its pid:", len(found), name)
	for i, n := range found {
		if i == maxCandidates {
			fmt.Fprintf(&b, "\n  ... and %d more", len(found)-i)
			break
		}
		line := fmt.Sprintf("%7d %-15s %s", n.PID, safetext.String(n.Comm), workload.Name(n.Namespace, n.Pod, n.Container, n.Unit))
		b.WriteString("\n  " + strings.TrimRight(line, " "))
	}
	return errors.New(b.String())
}
