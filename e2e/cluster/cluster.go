// Package cluster runs a real Kubernetes node: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, containerd and kubelet as processes
// of their own, with real pods. Nothing is mocked.
//
// [Start] needs a sandbox (package sandbox), whose fixed paths and addresses
// it uses. [StartAPI] is enough for tests that need an API server and no node.
package cluster

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/sandbox"
)

// A Cluster is the whole of it. Its one node is called [sandbox.Hostname].
type Cluster struct {
	*API
	ControllerManager, Scheduler, Containerd, Kubelet *Process
}

// Options change the node.
type Options struct {
	// Progress gets each part that is up, and how long that took.
	Progress func(part string, took time.Duration)
}

// Start brings the cluster up and returns when its node is Ready.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if !sandbox.Inside() {
		return nil, errors.New("a cluster runs in a sandbox: call sandbox.Main first")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	dir := filepath.Join(sandbox.Dir(), "cluster")
	at := time.Now()
	step := func(part string) {
		if opts.Progress != nil {
			opts.Progress(part, time.Since(at))
		}
		at = time.Now()
	}

	// Port 443 of the first service address: where pods look for the API.
	api, err := startAPI(ctx, dir, sandbox.ServiceAddress, 443)
	if err != nil {
		return nil, err
	}
	c := &Cluster{API: api}
	step("etcd and kube-apiserver")
	if err := c.startControllers(ctx); err != nil {
		return nil, err
	}
	step("kube-controller-manager and kube-scheduler")
	if err := c.startContainerd(ctx); err != nil {
		return nil, err
	}
	step("containerd")
	if err := c.startKubelet(ctx); err != nil {
		return nil, err
	}
	if err := c.WaitReady(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(c.Kubelet.log))
	}
	step("kubelet and a Ready node")
	return c, nil
}

func (c *Cluster) startControllers(ctx context.Context) error {
	var err error
	if c.ControllerManager, err = c.API.ControllerManager(); err != nil {
		return err
	}
	scheduler, err := tool("kube-scheduler")
	if err != nil {
		return err
	}
	config, err := c.pki.kubeconfig("scheduler", c.server, pkix.Name{CommonName: "system:kube-scheduler"})
	if err != nil {
		return err
	}
	c.Scheduler = &Process{
		name:  "kube-scheduler",
		args:  []string{scheduler, "--kubeconfig=" + config, "--bind-address=127.0.0.1", "--leader-elect=false"},
		log:   filepath.Join(c.dir, "kube-scheduler.log"),
		ready: func(context.Context, time.Time) error { return nil }, // a pod that runs shows it
	}
	if err := c.ControllerManager.Start(ctx); err != nil {
		return err
	}
	return c.Scheduler.Start(ctx)
}

// kubeletConfig: the first part holds on any machine.
//   - cgroup v1 still exists where this is developed (failCgroupV1).
//   - The node's allocatable is not enforced: it would need a cgroup above
//     every process of the machine.
//   - A changed ConfigMap arrives after syncFrequency, a minute by default.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
resolvConf: ""
clusterDomain: cluster.local
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
`

// noEviction: the machine's disk is not ours to judge. Tests that want
// evictions give the node a disk of its own ([Cluster.OwnDisk]).
const noEviction = `localStorageCapacityIsolation: false
evictionHard:
  memory.available: 50Mi
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
`

func (c *Cluster) configureKubelet(more string) error {
	text := fmt.Sprintf(kubeletConfig, c.pki.path("ca.crt"), sandbox.CgroupName()) + more
	return os.WriteFile(c.kubeletConfig(), []byte(text), 0o600)
}

func (c *Cluster) kubeletConfig() string { return filepath.Join(c.dir, "kubelet.yaml") }

func (c *Cluster) startKubelet(ctx context.Context) error {
	kubelet, err := tool("kubelet")
	if err != nil {
		return err
	}
	if err := sandbox.MakeCgroups(); err != nil {
		return err
	}
	kubeconfig, err := c.pki.kubeconfig("kubelet", c.server, pkix.Name{
		CommonName: "system:node:" + sandbox.Hostname, Organization: []string{"system:nodes"},
	})
	if err != nil {
		return err
	}
	if err := c.configureKubelet(noEviction); err != nil {
		return err
	}
	c.Kubelet = &Process{
		name: "kubelet",
		args: []string{
			kubelet,
			"--config=" + c.kubeletConfig(),
			"--kubeconfig=" + kubeconfig,
			"--hostname-override=" + sandbox.Hostname,
			"--node-ip=" + sandbox.NodeAddress,
			"--cert-dir=" + filepath.Join(c.dir, "kubelet-pki"),
		},
		log:   filepath.Join(c.dir, "kubelet.log"),
		ready: c.kubeletReady,
	}
	return c.Kubelet.Start(ctx)
}

// kubeletReady waits for a heartbeat of this kubelet's own. It is healthy
// before: it starts cAdvisor after that, and ends if there is no inotify
// instance left for it.
func (c *Cluster) kubeletReady(ctx context.Context, began time.Time) error {
	node, err := c.Client.CoreV1().Nodes().Get(ctx, sandbox.Hostname, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type == corev1.NodeReady && cond.LastHeartbeatTime.After(began) { // it has full seconds
			return nil
		}
	}
	return fmt.Errorf("the kubelet has not spoken since %s", began.Format(time.TimeOnly))
}

// WaitReady waits until the node is Ready and nothing keeps pods off it.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return poll(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, sandbox.Hostname, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, cond := range node.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status != corev1.ConditionTrue {
				return fmt.Errorf("node %s is not Ready: %s", node.Name, cond.Message)
			}
		}
		for _, taint := range node.Spec.Taints {
			if taint.Key == corev1.TaintNodeNotReady {
				return fmt.Errorf("node %s has the taint %s", node.Name, taint.Key)
			}
		}
		return nil
	})
}

// Stop ends everything in reverse order; pods and their shims end with the
// sandbox.
func (c *Cluster) Stop() {
	c.Kubelet.Stop()
	c.Containerd.Stop()
	c.Scheduler.Stop()
	c.ControllerManager.Stop()
	c.API.Stop()
}
