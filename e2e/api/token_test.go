package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// account makes a service account that may do what rules say.
func account(t *testing.T, name string, rules ...rbacv1.PolicyRule) *corev1.ServiceAccount {
	t.Helper()
	sa, err := server.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rbac := server.Client.RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = rbac.ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{})
		_ = rbac.ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})
		_ = server.Client.CoreV1().ServiceAccounts("default").Delete(ctx, name, metav1.DeleteOptions{})
	})
	return sa
}

var (
	mayRead  = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}}
	mayWrite = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes/status"}, Verbs: []string{"patch"}}
)

// token signs a token for sa as the API server does. Its own are valid for ten
// minutes at least, which is long for a test.
func token(t *testing.T, sa *corev1.ServiceAccount, valid time.Duration) string {
	t.Helper()
	file, err := os.ReadFile(saKey())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "https://kubernetes.default.svc"
	now := time.Now()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:" + sa.Namespace + ":" + sa.Name,
		"iat": now.Add(-time.Hour).Unix(), "nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(valid).Unix(),
		"kubernetes.io": map[string]any{"namespace": sa.Namespace, "serviceaccount": map[string]any{"name": sa.Name, "uid": sa.UID}},
	})
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// as is a configuration with sa's token from a file, as in a pod.
func as(t *testing.T, file string) *rest.Config {
	c := rest.AnonymousClientConfig(server.Config)
	c.BearerTokenFile = file
	c.QPS, c.Burst = -1, -1
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A token that is not renewed in time stops the writes, and a new one in its
// file starts them again.
func TestExpiredToken(t *testing.T) {
	n := makeNode(t, "expired")
	sa := account(t, "expired", mayRead, mayWrite)
	file := filepath.Join(t.TempDir(), "token")
	// The API server allows a minute of clock skew.
	write(t, file, token(t, sa, 30*time.Second-time.Minute))
	refused := make(chan kube.Write, 1000)
	s := speak(t, n.Name, as(t, file), prompt(), kube.Hooks{Wrote: func(w kube.Write) {
		if w.Err != nil {
			refused <- w
		}
	}})
	s.say(condition.Clear, condition.FloorsInForce, "m", condition.SysctlDrift)
	wait(t, "written", func() bool { return len(conditions(t, n.Name)) == 3 })
	time.Sleep(42 * time.Second) // 30, and 10 that the API server remembers a token for
	s.say(condition.Bad, condition.ContestedByWriter, "m", condition.SysctlDrift)
	if w := <-refused; !w.Retry {
		t.Errorf("an expired token is for good: %+v", w)
	}
	if got := conditions(t, n.Name)[condition.SysctlDrift]; got.Status != "False" {
		t.Errorf("condition %+v", got)
	}
	write(t, file, token(t, sa, time.Hour))
	wait(t, "written with the new token", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "True" })
}

// What is forbidden is tried once.
func TestForbiddenIsNotRetried(t *testing.T) {
	n := makeNode(t, "forbidden")
	sa := account(t, "forbidden", mayRead)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, token(t, sa, time.Hour))
	tried := make(chan kube.Write, 100)
	s := speak(t, n.Name, as(t, file), prompt(), kube.Hooks{Wrote: func(w kube.Write) { tried <- w }})
	for range 100 {
		s.say(condition.Clear, condition.FloorsInForce, "m", condition.SysctlDrift)
		time.Sleep(50 * time.Millisecond)
	}
	if got := s.patches.Load(); got != 1 {
		t.Errorf("%d tries, want 1", got)
	}
	if w := <-tried; w.Retry || w.Err == nil {
		t.Errorf("told %+v", w)
	}
}
