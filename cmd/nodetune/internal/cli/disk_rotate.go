package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
)

// diskRotateFlags are the flags of `nodetune disk rotate`.
type diskRotateFlags struct {
	unit     string
	pid      int
	signal   string
	inPlace  bool
	compress string
	archives int
	wait     time.Duration
	force    bool
}

func newDiskRotate(o *options) *cobra.Command {
	f := &diskRotateFlags{}
	cmd := &cobra.Command{
		Use:   "rotate FILE...",
		Short: "Rotate logs without losing lines",
		Long: `Gives each log a new, empty file with the owner, mode, ACL and label of the old
one, in one step, so that its path is never missing. Then it asks the writer to
open the log again, waits until no process has the old file open, compresses it,
and removes the archives beyond --archives. A log whose reader is far behind is
not rotated without --force.

Name the writer with --unit, --pid or disk.rotations of the configuration. It gets
the signal only if it really has the log open. For a writer that cannot reopen,
--in-place copies the log and cuts off what was copied.

You can interrupt it at any time: the next call completes an unfinished rotation.`,
		Example: `  sudo nodetune disk rotate --unit nginx.service --signal USR1 /var/log/nginx/access.log
  sudo nodetune disk rotate --in-place /var/log/app/app.log`,
		Args: requireArgs("disk rotate: which logs? Give their paths", 0),
		RunE: func(cmd *cobra.Command, files []string) error {
			return f.run(cmd, o, files)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.unit, "unit", "", "systemd `unit` that writes the log")
	fl.IntVar(&f.pid, "pid", 0, "`process` that writes the log")
	fl.StringVar(&f.signal, "signal", "HUP", "signal that makes the writer reopen: HUP, USR1, USR2 or WINCH")
	fl.BoolVar(&f.inPlace, "in-place", false, "the writer cannot reopen: copy the log, and cut off what was copied")
	fl.StringVar(&f.compress, "compress", "gzip", "gzip, zstd or none")
	fl.IntVar(&f.archives, "archives", 0, "how many archives to keep; 0 keeps all")
	fl.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for the writer and the readers to leave the old file")
	fl.BoolVar(&f.force, "force", false, "rotate also where a reader is behind, which may lose lines to it")
	cmd.MarkFlagsMutuallyExclusive("unit", "pid", "in-place")
	return cmd
}

// rotateOptions is what the flags say; what they leave out is as in the configuration.
func (f *diskRotateFlags) rotateOptions(cmd *cobra.Command, p disk.Policy, file string) (rotate.Options, error) {
	how := rotate.Options{Compress: archive.Gzip}
	if r, ok := rotate.RuleFor(p.Rotations, file); ok {
		how = r.Options()
		how.Grace = 0
	}
	set := cmd.Flags().Changed
	if set("unit") || set("pid") {
		how.Reopen, how.InPlace = rotate.Reopen{Unit: f.unit, PID: f.pid, Signal: f.signal}, false
	}
	if set("in-place") {
		how.InPlace, how.Reopen = f.inPlace, rotate.Reopen{}
	}
	if set("compress") {
		how.Compress = archive.Compression(f.compress)
	}
	if set("archives") {
		how.Archives = f.archives
	}
	how.Force = f.force
	switch how.Compress {
	case archive.Gzip, archive.Zstd, archive.None:
	default:
		return how, fmt.Errorf("--compress %q: want gzip, zstd or none", f.compress)
	}
	if set("signal") && !set("unit") && !set("pid") {
		return how, errors.New("--signal needs a process to send it to: name the writer with --unit or --pid")
	}
	if how.Archives < 0 || f.pid < 0 || f.wait < 0 {
		return how, errors.New("--archives, --pid and --wait cannot be negative")
	}
	return how, nil
}

func (f *diskRotateFlags) run(cmd *cobra.Command, o *options, files []string) error {
	if o.output != "table" {
		return fmt.Errorf("--output %s: disk rotate prints a line for each thing it does, and no document", o.output)
	}
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if at := sysctl.NewStore(o.Rootfs).Paused(); at != "" {
		return errNotMet(fmt.Errorf("nodetune is paused and touches no file: remove %s first", at))
	}
	rotator, err := rotate.New(o.Procfs, o.Rootfs, cfg.Disk.LogPaths)
	if err != nil {
		return errInput(err)
	}
	defer func() { _ = rotator.Close() }()
	managed, err := rotator.Logrotate()
	if err != nil {
		return errInput(err)
	}
	var logs []rotate.Log
	var failed []error
	asked := map[string]bool{} // a daemon is asked once for all of its logs
	for _, file := range files {
		if file, err = filepath.Abs(file); err != nil {
			return errInput(err)
		}
		how, err := f.rotateOptions(cmd, cfg.Disk, file)
		if err != nil {
			return err
		}
		how.Asked = func(process string) {
			if !asked[process] {
				asked[process] = true
				fmt.Fprintf(cmd.OutOrStdout(), "asked to reopen it: %s\n", safetext.String(process))
			}
		}
		if managed(file) {
			failed = append(failed, fmt.Errorf("%s is rotated by logrotate, see 'nodetune check'", safetext.String(file)))
			continue
		}
		logs = append(logs, rotate.Log{Path: file, Options: how})
	}
	for i, err := range f.rotate(cmd.Context(), cmd.OutOrStdout(), rotator, logs) {
		if err == nil {
			continue
		}
		file := logs[i].Path
		if _, missing := os.Lstat(filepath.Join(o.Rootfs, file)); errors.Is(missing, fs.ErrNotExist) {
			err = fmt.Errorf("%s does not exist: give the path of a log, 'nodetune disk' lists them (%w)", file, err)
		}
		failed = append(failed, err)
	}
	if len(files) == 1 && len(failed) == 1 {
		return errNotMet(errors.New(safetext.String(failed[0].Error())))
	}
	for _, err := range failed {
		fmt.Fprintf(cmd.ErrOrStderr(), "nodetune: %s\n", safetext.String(err.Error()))
	}
	if len(failed) > 0 {
		return errNotMet(fmt.Errorf("%d of %d logs are not rotated, or their archives are not finished", len(failed), len(files)))
	}
	return nil
}

// rotate rotates logs and stays until their archives are finished. It returns an error
// for each log, or nil.
func (f *diskRotateFlags) rotate(ctx context.Context, out io.Writer, r *rotate.Rotator, logs []rotate.Log) []error {
	errs := make([]error, len(logs))
	var left []int // what is not finished
	// What a killed run left behind comes first: it may be the very same log.
	before := make([]rotate.Log, len(logs))
	for i, l := range logs {
		before[i] = rotate.Log{Path: l.Path, Options: rotate.Options{Reopen: l.Options.Reopen, Compress: archive.None, Asked: l.Options.Asked}}
	}
	for i, got := range r.FinishAll(ctx, before, time.Now()) {
		if errs[i] = got.Err; got.Err == nil {
			left = append(left, i)
		}
	}
	rotated := r.RotateAll(ctx, pick(logs, left), time.Now())
	var waiting []int
	for n, i := range left {
		file, got := safetext.String(logs[i].Path), rotated[n]
		switch {
		case got.Err != nil:
			errs[i] = got.Err
			continue
		case got.Archive == "":
			fmt.Fprintf(out, "%s is empty and stays as it is\n", file)
		default:
			fmt.Fprintf(out, "%s: its lines are in %s\n", file, safetext.String(got.Archive))
		}
		waiting = append(waiting, i)
	}
	for deadline := time.Now().Add(f.wait); len(waiting) > 0; {
		left, waiting = waiting, nil
		for n, s := range r.FinishAll(ctx, pick(logs, left), time.Now()) {
			i := left[n]
			for _, a := range s.Compressed {
				fmt.Fprintf(out, "compressed to %s\n", safetext.String(a.Path))
			}
			for _, a := range s.Removed {
				fmt.Fprintf(out, "removed %s\n", safetext.String(a.Path))
			}
			switch {
			case s.Err != nil:
				errs[i] = s.Err
			case s.Waiting == 0 && len(s.Repaired) == 0:
			case time.Now().After(deadline):
				errs[i] = fmt.Errorf("%s: writers or readers still have %d of its archives open, which stay as they are; call this again later", logs[i].Path, s.Waiting)
			default:
				waiting = append(waiting, i)
			}
		}
		if len(waiting) > 0 && !sleep(ctx, 50*time.Millisecond) {
			for _, i := range waiting {
				errs[i] = ctx.Err()
			}
			break
		}
	}
	return errs
}

// pick returns those of the logs.
func pick(logs []rotate.Log, which []int) []rotate.Log {
	some := make([]rotate.Log, len(which))
	for n, i := range which {
		some[n] = logs[i]
	}
	return some
}
