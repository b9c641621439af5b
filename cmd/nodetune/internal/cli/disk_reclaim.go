package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
)

// diskReclaimFlags are the flags of `nodetune disk reclaim`.
type diskReclaimFlags struct {
	until    string
	path     string
	classes  []string
	critical bool
	dryRun   bool
}

func newDiskReclaim(o *options) *cobra.Command {
	f := &diskReclaimFlags{}
	cmd := &cobra.Command{
		Use:   "reclaim",
		Short: "Free space on a log disk, least valuable data first",
		Long: `Frees space until no more than --until of the filesystem is in use. It takes one
safe step after another, and measures the disk again after each. It removes
compressed archives, oldest first and never the last of a log; compresses
archives; and rotates oversized logs that disk.rotations names.

Other classes need disk.reclaim.classes or --class: archives of other programs,
logs of deleted pods, archived journals, deleted files and other oversized logs
below every reader's offset, and core dumps. A file that a process has open stays.
Unread lines are removed only with --class unread --critical, and the loss is
reported.

With --dry-run it changes nothing and shows the steps, including those whose class
is not switched on. You can interrupt it at any time: each step is complete or not
begun.`,
		Example: `  sudo nodetune disk reclaim --until 80% --dry-run
  sudo nodetune disk reclaim --until 80% --class other-archives,journal`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.until, "until", "", "stop when so much of the filesystem is in use, for example 80%")
	fl.StringVar(&f.path, "path", "", "log `directory` whose filesystem is meant (default: the first of disk.logPaths)")
	fl.StringSliceVar(&f.classes, "class", nil, "also switch on these classes: "+strings.Join(config.ReclaimClassNames(), ", "))
	fl.BoolVar(&f.critical, "critical", false, "also give up the last reserves: the ballast, and the class unread")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the steps, do none")
	_ = cmd.MarkFlagRequired("until")
	return cmd
}

func (f *diskReclaimFlags) run(cmd *cobra.Command, o *options) error {
	used, err := strconv.ParseFloat(strings.TrimSuffix(f.until, "%"), 64)
	if err != nil {
		return fmt.Errorf("--until %q: want a percentage, for example 80%%", f.until)
	}
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	p := cfg.Disk
	for _, name := range f.classes {
		c, warning, err := config.ReclaimClass("--class", name)
		if err != nil {
			return err
		}
		if warning != "" {
			printWarnings(cmd.ErrOrStderr(), []string{warning})
		}
		p.Reclaim.Classes = append(p.Reclaim.Classes, c)
	}
	if f.path == "" {
		f.path = p.LogPaths[0]
	}
	if at := sysctl.NewStore(o.Rootfs).Paused(); at != "" && !f.dryRun {
		return errNotMet(fmt.Errorf("nodetune is paused and touches no file: remove %s first", at))
	}
	r, err := reclaim.New(o.Procfs, o.Rootfs, p.ReclaimConfig())
	if err != nil {
		return errInput(err)
	}
	defer func() { _ = r.Close() }()
	r.Sandboxes = agent.PodSandboxes(o.Rootfs)
	goal, err := r.Until(f.path, used)
	if err != nil {
		return err
	}
	goal.Critical = f.critical
	seen := diskPass(cmd.Context(), o.Roots, p) // an error leaves out orphans and deleted files
	out := cmd.OutOrStdout()
	report := func(a logdir.Action) {
		if o.output == "table" {
			printAct(out, a)
		}
	}
	got, err := r.Reclaim(cmd.Context(), f.path, goal, seen.Value.ReclaimInput(), f.dryRun, time.Now(), report)
	doc := struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		reclaim.Result
	}{apiVersion, "Reclaim", got}
	if err := o.print(out, doc, func(w io.Writer) error { return f.show(w, got) }); err != nil {
		return err
	}
	if err != nil {
		return errNotMet(err)
	}
	if !got.Met && !f.dryRun {
		next := "there is nothing else that may go; see what could with --dry-run"
		if got.Bounded {
			next = "disk.reclaim.maxFiles and maxBytes bound one call; call it again"
		}
		return errNotMet(fmt.Errorf("%s has %s available, %s less than %s: %s",
			f.path, field.Size(got.Filesystem.AvailBytes), field.Size(goal.AvailBytes-got.Filesystem.AvailBytes), field.Size(goal.AvailBytes), next))
	}
	return nil
}

func printAct(w io.Writer, a logdir.Action) {
	line := fmt.Sprintf("%s %s (%s): %s", a.Verb, a.Path, field.Size(a.Bytes), a.Reason)
	if a.Unread > 0 {
		line += fmt.Sprintf("; %s were unread", field.Size(a.Unread))
	}
	if a.Error != "" {
		line = fmt.Sprintf("%s %s: %s", a.Verb, a.Path, a.Error)
	}
	fmt.Fprintln(w, safetext.String(line))
}

func (f *diskReclaimFlags) show(w io.Writer, got reclaim.Result) error {
	for _, s := range got.Steps {
		switchOn := ""
		if !s.Allowed {
			switchOn = fmt.Sprintf(" — only with --class %s", config.ReclaimClassName(s.Class))
		}
		fmt.Fprintln(w, safetext.String(fmt.Sprintf("would free %s: %s (%s, %s)%s", field.Size(s.Frees), s.Path, config.ReclaimClassName(s.Class), s.Reason, switchOn)))
	}
	state := "enough"
	if !got.Met {
		state = field.Size(got.Goal.AvailBytes) + " are wanted"
	}
	if f.dryRun {
		_, err := fmt.Fprintf(w, "%s: %s available, %s\n", safetext.String(f.path), field.Size(got.Filesystem.AvailBytes), state)
		return err
	}
	_, err := fmt.Fprintf(w, "%s: freed %s, %s available, %s; %d skipped, since a process has them open\n",
		safetext.String(f.path), field.Size(got.Freed), field.Size(got.Filesystem.AvailBytes), state, got.Skipped)
	return err
}
