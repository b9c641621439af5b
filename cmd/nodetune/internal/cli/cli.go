// Package cli is the command line of nodetune: one file for each command.
//
// A command reads the configuration, calls the packages that observe, plan and
// apply, prints a table or a document, and returns an exit code. It decides
// nothing about the node. Commands write to the writers of cobra; only run logs.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Main runs the command line of this process and ends it with the exit code.
func Main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if _, _, unknown := root.Find(args); err != nil && unknown != nil {
		err = fmt.Errorf("%s\nSee 'nodetune --help' for all commands", strings.TrimSpace(unknown.Error()))
	}
	return exitCode(err, stderr)
}
