{{- define "nodetune.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "nodetune.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "nodetune.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nodetune.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "nodetune.labels" -}}
app.kubernetes.io/name: {{ include "nodetune.name" . }}
app.kubernetes.io/part-of: nodetune
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nodetune.selector" -}}
app.kubernetes.io/name: {{ include "nodetune.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "nodetune.serviceAccount" -}}
{{- $name := default (include "nodetune.fullname" .) .Values.serviceAccount.name }}
{{- if eq $name "default" }}
{{- fail "serviceAccount.name: \"default\" is the account of every pod without one of its own, and the policy own-node-only is for the agent alone; choose another name" }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "nodetune.image" -}}
{{- $registry := default .Values.image.registry (dig "imageRegistry" "" (default dict .Values.global)) }}
{{- $repository := join "/" (compact (list $registry .Values.image.repository)) }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* As each Kubernetes object has them; global ones may be plain names. */}}
{{- define "nodetune.imagePullSecrets" -}}
{{- $all := list }}
{{- range concat (dig "imagePullSecrets" (list) (default dict .Values.global)) .Values.imagePullSecrets }}
{{- $all = append $all (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with $all }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pools, or one without a name: each a whole context in which the values of
the pool stand above those of the chart, and rules of sysctl go by key. */}}
{{- define "nodetune.pools" -}}
{{- $names := list }}
{{- range .Values.pools }}
{{- if has .name $names }}
{{- fail (printf "pools: two have the name %q" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $pools := default (list dict) .Values.pools }}
{{- toJson $pools }}
{{- end }}

{{- define "nodetune.poolValues" -}}
{{- $root := index . 0 }}
{{- $pool := index . 1 }}
{{- $values := mergeOverwrite (deepCopy $root.Values.AsMap) (deepCopy (omit $pool "name")) }}
{{- $own := dig "config" "sysctl" "rules" (list) $pool }}
{{- if $own }}
{{- $rules := list }}
{{- $keys := list }}
{{- range $own }}{{ $keys = append $keys .key }}{{ end }}
{{- range (dig "sysctl" "rules" (list) (default dict $root.Values.config)) }}
{{- if not (has .key $keys) }}{{ $rules = append $rules . }}{{ end }}
{{- end }}
{{- $_ := set (get (get $values "config") "sysctl") "rules" (concat $rules $own) }}
{{- end }}
{{- toJson $values }}
{{- end }}

{{/* A name that is cut ends with a hash of all of it: two long names are two. */}}
{{- define "nodetune.poolName" -}}
{{- $full := include "nodetune.fullname" (index . 0) }}
{{- with (index . 1).name }}
{{- $name := printf "%s-%s" $full . }}
{{- if gt (len $name) 63 }}{{ $name = printf "%s-%s" ($name | trunc 52 | trimSuffix "-") (sha256sum $name | trunc 10) }}{{ end }}
{{- $name }}
{{- else }}
{{- $full }}
{{- end }}
{{- end }}

{{/* The rules that the configuration adds and that are written. */}}
{{- define "nodetune.writtenKeys" -}}
{{- $keys := list }}
{{- range (dig "sysctl" "rules" (list) (default dict .Values.config)) }}
{{- if not .reportOnly }}
{{- if not (regexMatch "^(fs\\.(inotify\\.|epoll\\.)[a-z_]+|fs\\.file-max|fs\\.nr_open|fs\\.aio-max-nr|user\\.max_[a-z_]+|vm\\.max_map_count|kernel\\.pid_max)$" .key) }}
{{- fail (printf "config.sysctl.rules: nodetune does not write %s; it writes fs.inotify.*, fs.epoll.*, fs.file-max, fs.nr_open, fs.aio-max-nr, user.max_*, vm.max_map_count and kernel.pid_max" .key) }}
{{- end }}
{{- $keys = append $keys .key }}
{{- end }}
{{- end }}
{{- toJson $keys }}
{{- end }}

{{/* The files below /proc/sys that they need beside those that are always mounted. */}}
{{- define "nodetune.sysctlFiles" -}}
{{- $files := list }}
{{- range (include "nodetune.writtenKeys" . | fromJsonArray) }}
{{- if not (regexMatch "^fs\\.(inotify\\.|epoll\\.|file-max$)" .) }}
{{- $files = append $files (replace "." "/" .) }}
{{- end }}
{{- end }}
{{- toJson (uniq $files) }}
{{- end }}

{{- define "nodetune.capabilities" -}}
{{- $all := list }}
{{- $config := default dict .Values.config }}
{{- if .Values.scan }}
{{- if .Values.ptrace }}
{{- $all = list "SYS_PTRACE" "DAC_READ_SEARCH" }}
{{- end }}
{{- if .Values.bpf }}
{{- $all = concat $all (list "BPF" "PERFMON") }}
{{- if has .Values.sysctl.guard (list "observe" "hold") }}
{{- $all = append $all "NET_ADMIN" }}
{{- end }}
{{- end }}
{{- if ne .Values.disk.mode "observe" }}
{{- $all = concat $all (list "LEASE" "CHOWN" "FOWNER" "DAC_OVERRIDE") }}
{{- end }}
{{- end }}
{{- range (include "nodetune.writtenKeys" . | fromJsonArray) }}
{{- if hasPrefix "user." . }}
{{- $all = append $all "SYS_RESOURCE" }}
{{- end }}
{{- end }}
{{- if dig "inotify" "raiseNOFILE" (list) $config }}
{{- $all = append $all "SYS_RESOURCE" }}
{{- end }}
{{- if dig "inotify" "canaryUIDs" (list) $config }}
{{- $all = append $all "SETUID" }}
{{- end }}
{{- toJson (concat $all .Values.extraCapabilities | uniq) }}
{{- end }}

{{- define "nodetune.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if ne .Values.disk.mode "observe" }}
{{- $_ := mergeOverwrite $resources (dict "limits" (dict "cpu" .Values.disk.cpuLimit)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* The configuration with what the values above imply. What it asks for and the
pod is not granted is refused here, rather than on every node. */}}
{{- define "nodetune.config" -}}
{{- $written := default dict .Values.config }}
{{- $config := merge (dict "apiVersion" "nodetune.io/v1alpha1" "kind" "Configuration") (deepCopy $written) }}
{{- if dig "disk" "mode" "" $written }}
{{- fail "config.disk.mode alone lacks what acting needs: set disk.mode, which also gives the mounts and capabilities" }}
{{- end }}
{{- if and (eq (toString (dig "inotify" "refusals" false $written)) "true") (not .Values.refusals) }}
{{- fail "config.inotify.refusals alone lacks what it needs: set refusals and bpf, which also give the mount and capabilities" }}
{{- end }}
{{- if has (dig "sysctl" "guard" "" $written) (list "observe" "hold") }}
{{- if ne (dig "sysctl" "guard" "" $written) .Values.sysctl.guard }}
{{- fail "config.sysctl.guard alone lacks what it needs: set sysctl.guard and bpf, which also give the mount and capabilities" }}
{{- end }}
{{- end }}
{{- if and (dig "reporter" "openGate" false $written) (not .Values.startupTaint) }}
{{- fail "config.reporter.openGate alone lacks what it needs: set startupTaint, which also grants patch of nodes" }}
{{- end }}
{{- if and (dig "reporter" "podDemands" "enabled" false $written) (not .Values.podDemands.enabled) }}
{{- fail "config.reporter.podDemands.enabled alone lacks what it needs: set podDemands.enabled, which also grants list and watch of pods" }}
{{- end }}
{{- if and (eq (dig "web" "report" "closed" $written) "authorised") (ne .Values.report "authorised") }}
{{- fail "config.web.report: authorised alone lacks what it needs: set report, which also grants create of tokenreviews and subjectaccessreviews" }}
{{- end }}
{{- if and (eq .Values.report "authorised") (not .Values.kubernetes) }}
{{- fail "report: authorised needs kubernetes: the API server is asked about each token" }}
{{- end }}
{{- if and (dig "inotify" "raiseNOFILE" (list) $written) (not (or .Values.hostPID .Values.exact)) }}
{{- fail "config.inotify.raiseNOFILE needs hostPID: prlimit(2) takes the pid of the host" }}
{{- end }}
{{- range (dig "disk" "rotations" (list) $written) }}
{{- if eq $.Values.disk.mode "observe" }}
{{- fail "config.disk.rotations needs disk.mode assist or exclusive" }}
{{- end }}
{{- if and (dig "reopen" "signal" "" .) (not (or $.Values.hostPID $.Values.exact)) }}
{{- fail "config.disk.rotations: a writer that is signalled needs hostPID" }}
{{- end }}
{{- end }}
{{- range (concat (dig "disk" "logPaths" (list) $written) (dig "disk" "filesystems" (list) $written)) }}
{{- $path := . }}
{{- $mounted := or (eq . "/var/log") (hasPrefix "/var/log/" .) }}
{{- range $.Values.extraVolumeMounts }}
{{- if or (eq (printf "/host/root%s" $path) .mountPath) (hasPrefix (printf "%s/" .mountPath) (printf "/host/root%s" $path)) }}{{ $mounted = true }}{{ end }}
{{- end }}
{{- if not $mounted }}
{{- fail (printf "config.disk names %s, which is not mounted: give it with extraVolumes and extraVolumeMounts at /host/root%s" . .) }}
{{- end }}
{{- end }}
{{- if ne .Values.disk.mode "observe" }}
{{- if not .Values.scan }}
{{- fail (printf "disk.mode %s needs scan: which process has a log open is seen in /proc" .Values.disk.mode) }}
{{- end }}
{{- $_ := mergeOverwrite $config (dict "disk" (dict "mode" .Values.disk.mode)) }}
{{- end }}
{{- if and .Values.scan (not .Values.ptrace) }}
{{- if not .Values.bpf }}
{{- fail "ptrace: false needs bpf: nothing else shows who has what open" }}
{{- end }}
{{- if ne .Values.disk.mode "observe" }}
{{- fail (printf "disk.mode %s needs ptrace: it asks which process writes a log" .Values.disk.mode) }}
{{- end }}
{{- end }}
{{- if .Values.refusals }}
{{- if not (and .Values.bpf .Values.scan) }}
{{- fail "refusals needs bpf and scan: BPF programs report them" }}
{{- end }}
{{- $_ := mergeOverwrite $config (dict "inotify" (dict "refusals" true)) }}
{{- end }}
{{- if .Values.sysctl.guard }}
{{- if and (ne .Values.sysctl.guard "off") (not (and .Values.bpf .Values.scan)) }}
{{- fail "sysctl.guard needs bpf and scan: a BPF program sees the writes" }}
{{- end }}
{{- $_ := mergeOverwrite $config (dict "sysctl" (dict "guard" .Values.sysctl.guard)) }}
{{- end }}
{{- if .Values.startupTaint }}
{{- $_ := mergeOverwrite $config (dict "reporter" (dict "openGate" true)) }}
{{- end }}
{{- if .Values.podDemands.enabled }}
{{- $_ := mergeOverwrite $config (dict "reporter" (dict "podDemands" (dict "enabled" true "namespaces" .Values.podDemands.namespaces))) }}
{{- end }}
{{- if ne .Values.report "closed" }}
{{- $_ := mergeOverwrite $config (dict "web" (dict "report" .Values.report)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* How the metrics are scraped: a certificate names no pod's address. */}}
{{- define "nodetune.scrapeTLS" -}}
{{- with .Values.metrics.tls -}}
{{- if .secretName -}}
scheme: https
tlsConfig:
  {{- if .insecureSkipVerify }}
  insecureSkipVerify: true
  {{- else }}
  serverName: {{ default (printf "%s.%s.svc" (include "nodetune.fullname" $) (include "nodetune.namespace" $)) .serverName }}
  ca:
    secret:
      name: {{ .secretName }}
      key: ca.crt
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* files/rules.yaml with the names of this release, without the alerts that are
disabled, with the overrides of each and with additional rules. */}}
{{- define "nodetune.rules" -}}
{{- $of := .Values.metrics.prometheusRule }}
{{- $names := list }}
{{- range (include "nodetune.pools" . | fromJsonArray) }}{{ $names = append $names (include "nodetune.poolName" (list $ .)) }}{{ end }}
{{- $matcher := ternary (printf "=%q" (first $names)) (printf "=~%q" (join "|" $names)) (eq (len $names) 1) }}
{{- $job := default (include "nodetune.name" .) $of.job }}
{{- $text := .Files.Get "files/rules.yaml" }}
{{- $text = replace `daemonset="nodetune"` (printf "daemonset%s" $matcher) $text }}
{{- $text = replace `created_by_name="nodetune"` (printf "created_by_name%s" $matcher) $text }}
{{- $text = replace `job="nodetune"` (printf "job=%q" $job) $text }}
{{- $text = replace "-n nodetune " (printf "-n %s " (include "nodetune.namespace" .)) $text }}
{{- with $of.selector }}
{{- $text = regexReplaceAll `\b(nodetune_[a-z_]+)\{` $text (printf "${1}{%s," (replace "$" "$$" .)) }}
{{- $text = replace "(up{" (printf "(up{%s," .) $text }}
{{- end }}
{{- with $of.kubeStateMetricsSelector }}
{{- $text = regexReplaceAll `\b(kube_[a-z_]+)\{` $text (printf "${1}{%s," (replace "$" "$$" .)) }}
{{- end }}
{{- range $name, $value := $of.thresholds }}
{{- $text = regexReplaceAll (printf `(?m)[0-9.]+ # %s$` $name) $text (printf "%v # %s" $value $name) }}
{{- end }}
{{- with $of.runbookURL }}
{{- $text = regexReplaceAll `runbook_url: \S+/` $text (printf "runbook_url: %s/" (trimSuffix "/" .)) }}
{{- end }}
{{- $groups := list }}
{{- range ($text | fromYaml).groups }}
{{- $rules := list }}
{{- range .rules }}
{{- if not .alert }}
{{- $rules = append $rules . }}
{{- else if not (has .alert $of.disabled) }}
{{- $severity := printf "%s/%s" .alert .labels.severity }}
{{- $rules = append $rules (mergeOverwrite . (deepCopy (default dict (get $of.overrides .alert))) (deepCopy (default dict (get $of.overrides $severity)))) }}
{{- end }}
{{- end }}
{{- if eq .name "nodetune" }}
{{- $rules = concat $rules $of.additionalRules }}
{{- end }}
{{- $groups = append $groups (dict "name" .name "rules" $rules) }}
{{- end }}
{{- toYaml (dict "groups" $groups) }}
{{- end }}

{{- define "nodetune.cleanupHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
