package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// applyAndPersist is apply, and the file for the next boot. Who would win then
// must be known before anything is written.
func (o *options) applyAndPersist(cmd *cobra.Command, act bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	m, err := sysctl.ReadMachine(o.Procfs)
	if err != nil {
		return errInput(err)
	}
	p, err := newSysctlPass(o.Roots, cfg, nil)
	if err != nil {
		return errInput(err)
	}
	defer p.Tree.Close()
	defer p.Store.Close()
	plan, err := sysctld.PlanPersist(o.Rootfs, o.Procfs, p.Rules, m, p.Foreign())
	if err != nil {
		return errInput(err)
	}
	if hidden := plan.Uncertain(); len(hidden) > 0 {
		return errInput(unreadableFiles(hidden))
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), agent.LockWait)
	defer cancel()
	// What is in use today is no reason for a number that every boot begins with.
	p.Rules = withFloorsFromUsage(ctx, o.Roots, p.Rules, cfg.Inotify)
	p.Act = act
	s := reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.PassResult]{Value: p.Run(ctx), At: time.Now()},
		Persist: &reporter.Persisted{File: sysctld.PersistFile, PersistPlan: plan},
		DryRun:  !act,
	}
	done := reporter.FileWritten
	if plan.Content == nil {
		done = reporter.FileRemoved
	}
	o.changeFile(ctx, p.Store, s.Persist, act, done, plan.Write)
	return o.reportChanges(cmd.OutOrStdout(), s)
}

// unreadableFiles names the files that could not be read, so that the file that sets
// a key at boot is unknown.
func unreadableFiles(problems []sysctld.Problem) error {
	errs := []error{errors.New("nothing was written, because these files could not be read and one may set the keys at the next boot; repair or move them, or leave out --persist")}
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%q, line %d: %s", p.File, p.Line, p.Problem))
	}
	return errors.Join(errs...)
}

// unpersist removes the file for the next boot.
func (o *options) unpersist(ctx context.Context, store *sysctl.Store, act bool) *reporter.Persisted {
	p := &reporter.Persisted{File: sysctld.PersistFile}
	o.changeFile(ctx, store, p, act, reporter.FileRemoved, sysctld.RemovePersisted)
	return p
}

// changeFile calls change, unless nodetune is paused, under the lock of a pass,
// and says in p what became of the file; done is what a change is called.
func (o *options) changeFile(ctx context.Context, store *sysctl.Store, p *reporter.Persisted, act bool, done reporter.FileOutcome, change func(root string) (bool, error)) {
	fail := func(err error) { p.Outcome, p.Reason = reporter.FileFailed, err.Error() }
	if !act {
		switch there, err := sysctld.Persisted(o.Rootfs); {
		case err != nil:
			fail(err) // as it would
		case done == reporter.FileRemoved && !there:
			p.Outcome = reporter.FileUnchanged
		case done == reporter.FileRemoved:
			p.Outcome, p.Reason = reporter.FilePlanned, "would be removed"
		default:
			p.Outcome = reporter.FilePlanned
		}
		return
	}
	unlock, err := store.Lock(ctx)
	if err != nil {
		fail(err)
		return
	}
	defer unlock()
	if at := store.Paused(); at != "" {
		p.Outcome, p.Reason = reporter.FilePaused, fmt.Sprintf("nodetune is paused: remove %s to let it write", at)
		return
	}
	switch changed, err := change(o.Rootfs); {
	case err != nil:
		fail(err)
	case changed:
		p.Outcome = done
	default:
		p.Outcome = reporter.FileUnchanged
	}
}
