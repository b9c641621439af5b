package cluster

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// An API is a real etcd and kube-apiserver.
type API struct {
	Kubeconfig string // of a cluster administrator (system:masters)
	Config     *rest.Config
	Client     kubernetes.Interface

	Etcd, Server *Process

	dir    string
	server string
	pki    *pki
}

// StartAPI starts etcd and kube-apiserver on free ports of 127.0.0.1 with their
// files below dir; this takes about five seconds and needs neither root nor a
// sandbox. They end with this process at the latest. The flags are more of the API
// server's.
func StartAPI(ctx context.Context, dir string, flags ...string) (*API, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return startAPI(ctx, dir, "127.0.0.1", port, flags...)
}

func startAPI(ctx context.Context, dir, address string, port int, flags ...string) (*API, error) {
	apiserver, err := tool("kube-apiserver")
	if err != nil {
		return nil, err
	}
	p, err := newPKI(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	a := &API{dir: dir, pki: p, server: "https://" + net.JoinHostPort(address, strconv.Itoa(port))}
	if err := p.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, address, "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc"); err != nil {
		return nil, err
	}
	// The API server is an administrator of the kubelets it asks for logs.
	if err := p.issue("apiserver-kubelet", pkix.Name{CommonName: "kube-apiserver", Organization: []string{"system:masters"}}); err != nil {
		return nil, err
	}
	if a.Kubeconfig, err = p.kubeconfig("admin", a.server, pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}); err != nil {
		return nil, err
	}
	if a.Config, err = clientcmd.BuildConfigFromFlags("", a.Kubeconfig); err != nil {
		return nil, err
	}
	a.Config.QPS, a.Config.Burst = -1, -1 // no client-side limit
	if a.Client, err = kubernetes.NewForConfig(a.Config); err != nil {
		return nil, err
	}

	if err := os.WriteFile(filepath.Join(dir, "audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	etcd, err := etcdProcess(dir)
	if err != nil {
		return nil, err
	}
	a.Etcd = etcd.process
	a.Server = &Process{
		name: "kube-apiserver",
		args: append([]string{
			apiserver,
			"--etcd-servers=" + etcd.url,
			"--bind-address=" + address,
			"--advertise-address=" + address,
			"--secure-port=" + strconv.Itoa(port),
			"--endpoint-reconciler-type=none",
			"--service-cluster-ip-range=10.96.0.0/16",
			"--tls-cert-file=" + p.path("apiserver.crt"),
			"--tls-private-key-file=" + p.path("apiserver.key"),
			"--client-ca-file=" + p.path("ca.crt"),
			"--kubelet-client-certificate=" + p.path("apiserver-kubelet.crt"),
			"--kubelet-client-key=" + p.path("apiserver-kubelet.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-signing-key-file=" + p.path("sa.key"),
			"--service-account-key-file=" + p.path("sa.pub"),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--audit-policy-file=" + filepath.Join(dir, "audit.yaml"),
			"--audit-log-path=" + filepath.Join(dir, "audit.log"),
			"--audit-log-mode=blocking", // written when the request is answered
		}, flags...),
		log: filepath.Join(dir, "kube-apiserver.log"),
		ready: func(ctx context.Context, _ time.Time) error {
			_, err := a.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
			return err
		},
	}
	start, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := a.Etcd.Start(start); err != nil {
		return nil, err
	}
	if err := a.Server.Start(start); err != nil {
		a.Stop()
		return nil, err
	}
	return a, nil
}

// ControllerManager is a kube-controller-manager for this API server, which the caller
// starts and stops. The flags are more of its own.
func (a *API) ControllerManager(flags ...string) (*Process, error) {
	manager, err := tool("kube-controller-manager")
	if err != nil {
		return nil, err
	}
	config, err := a.pki.kubeconfig("controller-manager", a.server, pkix.Name{CommonName: "system:kube-controller-manager"})
	if err != nil {
		return nil, err
	}
	return &Process{
		name: "kube-controller-manager",
		args: append([]string{
			manager,
			"--kubeconfig=" + config,
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + a.pki.path("sa.key"),
			"--root-ca-file=" + a.pki.path("ca.crt"),
		}, flags...),
		log: filepath.Join(a.dir, "kube-controller-manager.log"),
		// A pod needs its namespace's service account.
		ready: func(ctx context.Context, _ time.Time) error {
			_, err := a.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
			return err
		},
	}, nil
}

// Stop ends both.
func (a *API) Stop() {
	a.Server.Stop()
	a.Etcd.Stop()
}

type etcd struct {
	process *Process
	url     string
}

func etcdProcess(dir string) (etcd, error) {
	client, err := freePort()
	if err != nil {
		return etcd{}, err
	}
	peer, err := freePort()
	if err != nil {
		return etcd{}, err
	}
	clientURL, peerURL := fmt.Sprintf("http://127.0.0.1:%d", client), fmt.Sprintf("http://127.0.0.1:%d", peer)
	data := filepath.Join(dir, "etcd")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return etcd{}, err
	}
	return etcd{url: clientURL, process: &Process{
		name: "etcd",
		args: []string{
			"etcd", "--data-dir=" + data,
			"--listen-client-urls=" + clientURL, "--advertise-client-urls=" + clientURL,
			"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
			"--initial-cluster=default=" + peerURL,
		},
		log:   filepath.Join(dir, "etcd.log"),
		ready: func(ctx context.Context, _ time.Time) error { return get(ctx, clientURL+"/health") },
	}}, nil
}

// get asks for url and fails unless the answer is 200.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
