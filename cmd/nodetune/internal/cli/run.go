package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/seccomp"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/sysctl"
)

// runFlags are the flags of the agent. What may change while it runs is in the
// configuration instead.
type runFlags struct {
	web    webFlags
	log    logFlags
	kube   kubeFlags
	dryRun bool
	// seccomp is false for a kubeconfig that runs a program for credentials,
	// and in tests, whose process it would confine.
	seccomp bool
}

func newRun(o *options) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent: enforce floors, publish conditions and metrics",
		Long: `Repeats what apply does: reads every key, raises each one that is below its floor,
and reads it back. It never lowers a value, and restores none when it ends.

The agent needs uid 0 and a writable /proc/sys, but no configuration, network or
Kubernetes. With --node-name it also publishes conditions and Events of that Node;
it enforces the floors also while the API server is unavailable. It serves metrics
for Prometheus, /livez and /readyz, and notifies systemd when the floors hold.

The agent reads the configuration again on SIGHUP, and within 20 seconds of a
change of the file or directory. It rejects an invalid configuration, and one that
another user could change: the previous one stays in force.`,
		Example: `  sudo nodetune run
  sudo nodetune run --config /etc/nodetune.yaml --log.format json
  curl -s localhost:9409/metrics | grep nodetune_sysctl`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, o)
		},
	}
	f.web.register(cmd.Flags())
	f.log.register(cmd, cmd.Flags())
	f.kube.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.seccomp, "seccomp", true, "deny the agent system calls that it never makes, such as execve and ptrace; a kubeconfig that runs a program for credentials needs --seccomp=false")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "observe and report, write nothing")
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command, o *options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // first, since by default it kills
	defer signal.Stop(hup)
	if o.output != "table" {
		return fmt.Errorf("--output %s: run prints a log and no document; see --log.format, and /report of a running agent", o.output)
	}
	log, err := f.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := f.web.validate(); err != nil {
		return err
	}
	client, err := f.kube.client()
	if err != nil {
		return err
	}
	cfg, file, err := config.Watch(o.config)
	if err != nil {
		return err
	}
	store := sysctl.NewStore(o.Rootfs)
	leave, err := store.AcquireAgentLock(f.web.own())
	if held, ok := errors.AsType[*sysctl.LockedError](err); ok {
		return errNotMet(held)
	}
	if err != nil {
		// A full or read-only /run is no reason to leave the floors alone.
		log.Warn("cannot take the agent lock; other nodetune processes cannot see this agent", "err", err)
	} else {
		defer leave()
	}
	if f.seccomp {
		if err := seccomp.Confine(); err != nil {
			log.Warn("cannot deny system calls that the agent never makes", "err", err)
		}
	}
	a := agent.New(agent.Options{
		Roots: o.Roots, Log: log, Config: cfg, File: file, Store: store, Act: !f.dryRun, Locked: err == nil,
		Client: client, Node: f.kube.nodeName, Server: f.web.server(),
	})
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "warning", w)
	}
	v := version.Read()
	log.Info("nodetune started", "version", v.Version, "revision", v.Revision, "config", o.config, "dry_run", f.dryRun)
	a.Run(cmd.Context(), hup)
	log.Info("shutting down, limits are kept")
	return nil
}
