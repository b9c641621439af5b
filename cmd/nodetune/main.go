// Nodetune keeps a Linux node from starving its log collectors: it holds the
// inotify and file-descriptor sysctls above safe floors.
//
// This package is the command line and nothing else: flags, the configuration
// composed of one policy per package, wiring, exit codes, and all logging. What
// is observed, planned and applied lives in the packages beside it.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(commandLine(os.Args), os.Stdin, os.Stdout, os.Stderr))
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
	return exitCode(root.ExecuteContext(ctx), stderr)
}
