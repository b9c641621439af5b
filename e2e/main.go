// Command e2e brings up a real single-node Kubernetes cluster on this machine
// for work by hand, and takes it down again. The tests of this module start
// clusters of their own in the same way.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

const usage = `usage: e2e up              bring a cluster up; it stays until down
       e2e down            take it down, and whatever killed runs left behind
       e2e exec CMD...     run CMD in its namespaces, with KUBECONFIG set
       e2e run             bring it up in the foreground until SIGINT
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		args = []string{"help"}
	}
	switch args[0] {
	case "up":
		return up()
	case "down":
		return down()
	case "exec":
		return inside(args[1:])
	case "run":
		os.Exit(sandbox.Main(sandbox.Options{}, foreground))
	}
	fmt.Fprint(os.Stderr, usage)
	return errors.New("no such command")
}

const try = `  e2e/bin/e2e exec kubectl apply -k deploy/overlays/default
  e2e/bin/e2e exec kubectl -n nodetune rollout status daemonset/nodetune
`

// image is where make e2e-image puts the image: beside this program.
func image() string {
	self, err := os.Executable()
	if err != nil {
		return "nodetune.tar"
	}
	return filepath.Join(filepath.Dir(self), "nodetune.tar")
}

// kubeconfig is where the administrator's file lies in a run's directory.
func kubeconfig(dir string) string { return filepath.Join(dir, "cluster", "pki", "admin.kubeconfig") }

// upFile marks the sandbox that up made, once its cluster serves.
func upFile(dir string) string { return filepath.Join(dir, "up") }

// foreground runs in the sandbox.
func foreground() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin := time.Now()
	c, err := cluster.Start(ctx, cluster.Options{Progress: func(part string, took time.Duration) {
		fmt.Fprintf(os.Stdout, "e2e: %5.1f s  %s\n", took.Seconds(), part)
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer c.Stop()
	// The image that make e2e-image has built, under the name in the manifests.
	if err := c.LoadArchive(ctx, image()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	fmt.Fprintf(os.Stdout, "e2e: %5.1f s  in all, with the image; try:\n%s", time.Since(begin).Seconds(), try)
	if err := os.WriteFile(upFile(sandbox.Dir()), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	<-ctx.Done()
	return 0
}

// up starts run in the background and shows what it prints until the cluster
// serves.
func up() error {
	if r, err := find(); err == nil {
		return fmt.Errorf("a cluster is up already in %s; take it down with e2e down", r.Dir)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(filepath.Dir(self), "up.log"))
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(self, "run")
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	shown, err := os.Open(output.Name())
	if err != nil {
		return err
	}
	defer func() { _ = shown.Close() }()
	for {
		_, err := find()
		if _, err := io.Copy(os.Stdout, shown); err != nil { // what is new
			return err
		}
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(os.Stdout, shown)
			return fmt.Errorf("the cluster did not come up: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// errDown means that no cluster is up.
var errDown = errors.New("no cluster is up; bring one up with e2e up")

func find() (sandbox.Running, error) {
	all, err := sandbox.Find()
	if err != nil {
		return sandbox.Running{}, err
	}
	for _, r := range all {
		if _, err := os.Stat(upFile(r.Dir)); err == nil {
			return r, nil
		}
	}
	return sandbox.Running{}, errDown
}

func down() error {
	r, err := find()
	if errors.Is(err, errDown) {
		return sandbox.Sweep()
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(r.Owner, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ask the cluster to end: %w", err)
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(r.Dir); errors.Is(err, fs.ErrNotExist) {
			return sandbox.Sweep()
		}
	}
	return fmt.Errorf("the cluster in %s does not end; its starter is process %d", r.Dir, r.Owner)
}

// inside runs a command in the cluster's namespaces. The programs of e2e/bin
// come first in its PATH.
func inside(args []string) error {
	if len(args) == 0 {
		return errors.New("exec: name a command")
	}
	r, err := find()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.Getwd() // nsenter changes to /
	if err != nil {
		return err
	}
	path := filepath.Dir(self) + ":" + os.Getenv("PATH")
	enter := append(r.Enter(), append([]string{"env", "--chdir=" + dir, "PATH=" + path, "KUBECONFIG=" + kubeconfig(r.Dir)}, args...)...)
	cmd := exec.Command(enter[0], enter[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
