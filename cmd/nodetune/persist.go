package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// applyAndPersist is apply, and the file for the next boot. Who would win then
// must be known before anything is written.
func (o *options) applyAndPersist(cmd *cobra.Command, act bool) error {
	cfg, err := o.loadConfig()
	if err != nil {
		return err
	}
	m, err := sysctl.ReadMachine(o.procfs)
	if err != nil {
		return unreadable(err)
	}
	p, err := o.newSysctlPass(cfg, nil)
	if err != nil {
		return unreadable(err)
	}
	defer p.Tree.Close()
	defer p.Store.Close()
	plan, err := sysctld.PlanPersist(o.rootfs, p.Rules, m, p.Tree.ReadAll(p.Rules))
	if err != nil {
		return unreadable(err)
	}
	if hidden := plan.Opaque(); len(hidden) > 0 {
		return unreadable(opaque(hidden))
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), lockWait)
	defer cancel()
	// What is in use today is no reason for a number that every boot begins with.
	p.Rules = o.withUse(ctx, p.Rules, cfg.Inotify)
	p.Act = act
	s := reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.Observed]{Value: p.Run(ctx), At: time.Now()},
		Persist: &reporter.Persisted{File: sysctld.PersistFile, PersistPlan: plan},
	}
	o.persist(ctx, p.Store, s.Persist, act)
	return o.report(cmd.OutOrStdout(), s)
}

// opaque says which files hide who would win.
func opaque(problems []sysctld.Problem) error {
	errs := []error{errors.New("nothing was written: who would win at the next boot cannot be told; mend or move these, or leave out --persist")}
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%q, line %d: %s", p.File, p.Line, p.Problem))
	}
	return errors.Join(errs...)
}

// persist writes what p plans, under the lock of a pass.
func (o *options) persist(ctx context.Context, store *sysctl.Store, p *reporter.Persisted, act bool) {
	paused := store.Paused()
	switch {
	case !act:
		p.Outcome = reporter.FilePlanned
		return
	case paused != "":
		p.Outcome, p.Reason = reporter.FilePaused, fmt.Sprintf("nodetune is paused: remove %s to let it write", paused)
		return
	}
	unlock, err := store.Lock(ctx)
	if err != nil {
		p.Outcome, p.Reason = reporter.FileFailed, err.Error()
		return
	}
	defer unlock()
	done := reporter.FileWritten
	if p.Content == nil {
		done = reporter.FileRemoved
	}
	changed, err := p.Write(o.rootfs)
	note(p, done, changed, err)
}

// unpersist removes the file for the next boot.
func (o *options) unpersist(act bool) *reporter.Persisted {
	p := &reporter.Persisted{File: sysctld.PersistFile, Outcome: reporter.FilePlanned}
	if act {
		changed, err := sysctld.RemovePersisted(o.rootfs)
		note(p, reporter.FileRemoved, changed, err)
	}
	return p
}

// note says in p what became of the file; done is what a change is called.
func note(p *reporter.Persisted, done reporter.FileOutcome, changed bool, err error) {
	switch {
	case err != nil:
		p.Outcome, p.Reason = reporter.FileFailed, err.Error()
	case changed:
		p.Outcome = done
	default:
		p.Outcome = reporter.FileUnchanged
	}
}
