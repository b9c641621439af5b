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
app.kubernetes.io/component: agent
{{- end }}

{{- define "nodetune.serviceAccount" -}}
{{- default (include "nodetune.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "nodetune.image" -}}
{{- $repository := join "/" (compact (list .Values.image.registry .Values.image.repository)) }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "nodetune.capabilities" -}}
{{- $all := list "SYS_PTRACE" "DAC_READ_SEARCH" }}
{{- if .Values.bpf }}
{{- $all = concat $all (list "BPF" "PERFMON") }}
{{- end }}
{{- if ne .Values.disk.mode "observe" }}
{{- $all = concat $all (list "LEASE" "CHOWN" "FOWNER" "DAC_OVERRIDE") }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{- define "nodetune.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if ne .Values.disk.mode "observe" }}
{{- $_ := mergeOverwrite $resources (dict "limits" (dict "cpu" .Values.disk.cpuLimit)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* The configuration with what the values above imply. */}}
{{- define "nodetune.config" -}}
{{- $config := merge (dict "apiVersion" "nodetune.io/v1alpha1" "kind" "Configuration") (deepCopy .Values.config) }}
{{- if dig "disk" "mode" "" .Values.config }}
{{- fail "config.disk.mode alone lacks what acting needs: set disk.mode, which also gives the mounts and capabilities" }}
{{- end }}
{{- if ne .Values.disk.mode "observe" }}
{{- if not .Values.scan }}
{{- fail (printf "disk.mode %s needs scan: who has a log open is seen in /proc" .Values.disk.mode) }}
{{- end }}
{{- $_ := mergeOverwrite $config (dict "disk" (dict "mode" .Values.disk.mode)) }}
{{- end }}
{{- if .Values.refusals }}
{{- if not (and .Values.bpf .Values.scan) }}
{{- fail "refusals needs bpf and scan: programs tell them" }}
{{- end }}
{{- $_ := mergeOverwrite $config (dict "inotify" (dict "refusals" true)) }}
{{- end }}
{{- if .Values.startupTaint }}
{{- $_ := mergeOverwrite $config (dict "reporter" (dict "openGate" true)) }}
{{- end }}
{{- if .Values.podDemands.enabled }}
{{- $_ := mergeOverwrite $config (dict "reporter" (dict "podDemands" (dict "enabled" true "namespaces" .Values.podDemands.namespaces))) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* How the metrics are scraped: no certificate names the address of a pod. */}}
{{- define "nodetune.scrapeTLS" -}}
{{- if .Values.metrics.tls.secretName -}}
scheme: https
tlsConfig:
  insecureSkipVerify: true
{{- end }}
{{- end }}

{{/* files/rules.yaml without the alerts that are disabled. */}}
{{- define "nodetune.rules" -}}
{{- $groups := list }}
{{- range (.Files.Get "files/rules.yaml" | fromYaml).groups }}
{{- $rules := list }}
{{- range .rules }}
{{- if not (has .alert $.Values.metrics.prometheusRule.disabled) }}
{{- $rules = append $rules . }}
{{- end }}
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
