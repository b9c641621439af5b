package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

func newExplain(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Explain a sysctl: value, floor, and which file sets it at boot",
		Long: `Shows for a key its running value; its floor and the reason for that number; the
kernel's own default on this machine; the file and line that set it at the next
boot, for systemd-sysctl and for procps' sysctl --system; the kernel memory if all
of it were used; and what breaks at which count. Without KEY it prints one line
for each key of the configuration.

KEY may be dotted, or a path with or without /proc/sys/. The exit code is 3 where a file
that could change the answer cannot be read.`,
		Example: `  nodetune explain
  nodetune explain fs.inotify.max_user_watches
  nodetune explain fs/file-max -o json | jq '.keys[].boot[] | {loader, value, by}'`,
		Args:              atMostOneKey,
		ValidArgsFunction: o.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.explain(cmd, args)
		},
	}
}

func (o *options) explain(cmd *cobra.Command, args []string) error {
	w := cmd.OutOrStdout()
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	m, err := sysctl.ReadMachine(o.Procfs)
	if err != nil {
		return errInput(err)
	}
	rules, err := rulesOf(cfg.Sysctl.For(m), args)
	if err != nil {
		return err
	}
	tree, err := sysctl.OpenTree(o.Procfs)
	if err != nil {
		return errInput(err)
	}
	defer tree.Close()
	var paths []string
	for _, r := range rules {
		paths = append(paths, r.Key.Path())
	}
	boots, err := sysctld.ReadAll(o.Rootfs, paths...)
	if err != nil {
		return errInput(err)
	}
	doc := diagnosis.Explanation{APIVersion: apiVersion, Kind: "Explanation", Paused: sysctl.NewStore(o.Rootfs).Paused(), Problems: sysctld.Problems(boots)}
	cmdline := sysctld.ReadCmdline(o.Procfs)
	doc.Problems = append(doc.Problems, cmdline.Problems...)
	foreign := sysctl.Pass{Procfs: o.Procfs, Tree: tree, Store: sysctl.NewStore(o.Rootfs), Rules: rules}.Foreign()
	failed := false
	var watched sysctl.PassResult
	addGuard(&watched, o.Roots)
	for _, w := range watched.Warnings {
		doc.Problems = append(doc.Problems, sysctld.Problem{File: "sysctl guard", Problem: w})
	}
	for i, r := range rules {
		tuned, err := sysctld.ReadTuned(o.Rootfs, r.Key.Path())
		if err != nil {
			doc.Problems = append(doc.Problems, sysctld.Problem{File: "/etc/tuned/active_profile", Problem: err.Error()})
		}
		got := tree.Read(r.Key)
		failed = failed || got.Err != nil && !errors.Is(got.Err, fs.ErrNotExist)
		src := diagnosis.Sources{Cmdline: cmdline, Tuned: tuned, Commands: sysctld.Commands(o.Rootfs, r.Key.Path()), Foreign: foreign[i].Value, Guard: watched.Guard, GuardReason: watched.GuardReason, Writes: watched.ObservedWrites.Of(r.Key), Now: time.Now()}
		doc.Keys = append(doc.Keys, diagnosis.Explain(sysctl.Explain(r, m, got), m, boots, src))
	}
	err = o.print(w, doc, func(w io.Writer) error { return text.ExplainTable(w, doc, colour(w)) })
	if err != nil || failed || doc.Opaque() {
		return errInput(err)
	}
	return nil
}

// rulesOf returns the rule of the key that args name, or all. A key without a
// rule can be explained where nodetune could manage it.
func rulesOf(rules []sysctl.Rule, args []string) ([]sysctl.Rule, error) {
	if len(args) == 0 {
		return rules, nil
	}
	key, err := sysctl.ParseKey(strings.TrimPrefix(args[0], "/proc/sys/"))
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(rules, func(r sysctl.Rule) bool { return r.Key == key }); i >= 0 {
		return rules[i : i+1], nil
	}
	if err := sysctl.CheckKey(key); err != nil {
		return nil, fmt.Errorf("%w%s", err, config.SuggestKey(string(key)))
	}
	return []sysctl.Rule{{Key: key, Op: sysctl.Report, Want: sysctl.Unknown, Ceiling: sysctl.Unknown, Why: "the configuration has no rule for it"}}, nil
}

// completeKey offers the keys of the configuration.
func (o *options) completeKey(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var keys []cobra.Completion
	for _, r := range cfg.Sysctl.Rules {
		keys = append(keys, r.Key)
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}
