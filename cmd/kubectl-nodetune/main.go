// Kubectl-nodetune shows the agents of a cluster from a laptop, as
// 'kubectl nodetune'. It uses the rights of the user's kubeconfig alone.
//
// This package only starts the command line.
package main

import (
	"os"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr)) }
