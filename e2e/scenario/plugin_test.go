package scenario

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// kubectlNodetune runs `kubectl nodetune`, as kubectl finds it in $PATH.
func kubectlNodetune(ctx context.Context, args ...string) (code int, stdout, stderr string, err error) {
	bin, err := filepath.Abs("../bin") // make e2e-image
	if err != nil {
		return 0, "", "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "kubectl"), append([]string{"nodetune"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+node.Kubeconfig)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	return code, out.String(), errs.String(), err
}

// The plugin reads an agent from outside of the cluster: by exec where the report is
// closed, as it is by default, and through the pod proxy where it is open.
func TestPlugin(t *testing.T) {
	holdKernel(t)
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs, err := kubectlNodetune(t.Context(), args...)
		if err != nil || code != want {
			t.Errorf("kubectl nodetune %s: exit code %d, want %d, %v:\n%s%s", strings.Join(args, " "), code, want, err, out, errs)
		}
		return out + errs
	}
	holds := func(out string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("no %q in:\n%s", part, out)
			}
		}
	}
	t.Run("closed", func(t *testing.T) {
		install(t, "default")
		cluster.Eventually(t, "kubectl nodetune status is healthy", func(ctx context.Context) error {
			code, out, errs, err := kubectlNodetune(ctx, "status")
			if err != nil || code != 0 {
				return errors.Join(err, errors.New(out+errs))
			}
			return nil
		})
		holds(run(0, "status"), "healthy: 1 desired, 1 ready, 1 updated; version ")
		holds(run(0, "nodes"), sandbox.Hostname, "ok")
		holds(run(0, "check", sandbox.Hostname), maxInstances, "InForce", "read by exec", "set web.report: open")
		holds(run(0, "top", sandbox.Hostname), "kubelet", "WATCHES")
		holds(run(0, "bundle", "--file", file), "0 parts are not in it")
		holds(run(0, "check", sandbox.Hostname, "--from", file), "InForce")
		holds(run(0, "top", sandbox.Hostname, "--from", file), "kubelet")
		holds(run(0, "disk", sandbox.Hostname, "--from", file), "FILESYSTEM")
		holds(run(0, "nodes", "--from", file), sandbox.Hostname)
		holds(run(1, "check", "no-such-node"), "no agent runs on a node no-such-node")
		holds(run(0, "recommend"), "config:\n  sysctl:\n    rules:\n", "- key: "+maxInstances+"\n        atLeast: ", "in force: 8192 on "+sandbox.Hostname)
		holds(run(0, "recommend", "--pool", "kubernetes.io/hostname"), "pools:\n", "- name: \""+sandbox.Hostname+"\"\n")
		t.Run("runbooks", runbookCommands)
		holds(run(3, "check", sandbox.Hostname, "--as=guest", "--as-group=system:authenticated"), "no right to list pods")
	})
	t.Run("open", func(t *testing.T) {
		text := kustomize(t, "default")
		installText(t, strings.Replace(text, "    kind: Configuration\n", "    kind: Configuration\n    web: {report: open}\n", 1))
		cluster.Eventually(t, "the report comes through the pod proxy", func(ctx context.Context) error {
			code, out, errs, err := kubectlNodetune(ctx, "check", sandbox.Hostname)
			if err != nil || code != 0 || errs != "" {
				return errors.Join(err, errors.New(out+errs))
			}
			return nil
		})
	})
}
