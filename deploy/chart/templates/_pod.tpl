{{/* The pod of an agent, whose values are those of its pool. Arguments: the context,
the ConfigMap, the arguments of nodetune and whether it is a test. */}}
{{- define "nodetune.podSpec" -}}
{{- $ := .context }}
{{- $files := include "nodetune.sysctlFiles" $ | fromJsonArray }}
{{- $capabilities := include "nodetune.capabilities" $ | fromJsonArray }}
serviceAccountName: {{ include "nodetune.serviceAccount" $ }}
automountServiceAccountToken: {{ and $.Values.kubernetes (not .test) }}
hostPID: {{ or $.Values.hostPID $.Values.exact }}
hostNetwork: {{ $.Values.hostNetwork }}
{{- with $.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with include "nodetune.imagePullSecrets" $ | trim }}
{{ . }}
{{- end }}
{{- with $.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .test }}
restartPolicy: Never
{{- end }}
terminationGracePeriodSeconds: {{ $.Values.terminationGracePeriodSeconds }}
enableServiceLinks: false
dnsPolicy: {{ $.Values.dnsPolicy }}
containers:
  - name: nodetune
    image: {{ include "nodetune.image" $ }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    env:
      {{- if $.Values.kubernetes }}
      - name: NODE_NAME
        valueFrom:
          fieldRef:
            fieldPath: spec.nodeName
      {{- end }}
      - name: POD_NAME
        valueFrom:
          fieldRef:
            fieldPath: metadata.name
      - name: POD_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
      - name: NODETUNE_PATH_PROCFS
        value: /host/proc
      - name: NODETUNE_PATH_SYSFS
        value: /sys
      - name: NODETUNE_PATH_ROOTFS
        value: /host/root
      - name: GOMEMLIMIT
        value: {{ $.Values.goMemoryLimit | quote }}
      {{- with $.Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- if not .test }}
    ports:
      - name: metrics
        containerPort: {{ $.Values.metrics.port }}
    {{- range $name, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
    {{ $name }}:
      httpGet:
        path: {{ $path }}
        port: metrics
        {{- if $.Values.metrics.tls.secretName }}
        scheme: HTTPS
        {{- end }}
      {{- toYaml (get $.Values.probes (trimSuffix "Probe" $name)) | nindent 6 }}
    {{- end }}
    {{- end }}
    resources:
      {{- include "nodetune.resources" $ | nindent 6 }}
    securityContext:
      runAsUser: 0
      runAsGroup: 0
      privileged: false
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
        add: {{ toJson $capabilities }}
      seccompProfile:
        {{- toYaml $.Values.seccompProfile | nindent 8 }}
      {{- if $.Values.scan }}
      appArmorProfile:
        type: Unconfined
      {{- end }}
      {{- if $.Values.openshift }}
      seLinuxOptions:
        level: s0
        type: spc_t
      {{- else }}
      {{- with $.Values.seLinuxOptions }}
      seLinuxOptions:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
    volumeMounts:
      - name: config
        mountPath: /etc/nodetune
        readOnly: true
      {{- if $.Values.scan }}
      - name: proc
        mountPath: /host/proc
        readOnly: true
      {{- else }}
      - name: meminfo
        mountPath: /host/proc/meminfo
        readOnly: true
      - name: boot-id
        mountPath: /host/proc/sys/kernel/random/boot_id
        readOnly: true
      {{- end }}
      - name: proc-sys-fs-inotify
        mountPath: /host/proc/sys/fs/inotify
      - name: proc-sys-fs-epoll
        mountPath: /host/proc/sys/fs/epoll
      - name: proc-sys-fs-file-max
        mountPath: /host/proc/sys/fs/file-max
      {{- range $files }}
      - name: proc-sys-{{ regexReplaceAll "[^a-z0-9]" . "-" }}
        mountPath: /host/proc/sys/{{ . }}
      {{- end }}
      - name: run
        mountPath: /host/root/run/nodetune
      {{- if $.Values.scan }}
      - name: log
        mountPath: /host/root/var/log
        readOnly: {{ eq $.Values.disk.mode "observe" }}
      {{- end }}
      {{- if ne $.Values.disk.mode "observe" }}
      - name: runtime
        mountPath: /host/root{{ $.Values.disk.runtimeDir }}
        readOnly: true
      {{- end }}
      {{- if $.Values.metrics.tls.secretName }}
      - name: web
        mountPath: /etc/nodetune-web
        readOnly: true
      - name: tls
        mountPath: /etc/nodetune-tls
        readOnly: true
      {{- end }}
      {{- if $.Values.refusals }}
      - name: tracing
        mountPath: /sys/kernel/tracing
        readOnly: true
      {{- end }}
      {{- if has $.Values.sysctl.guard (list "observe" "hold") }}
      - name: cgroup
        mountPath: /host/root/sys/fs/cgroup
        readOnly: true
      {{- end }}
      {{- with $.Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ .config }}
  {{- if $.Values.scan }}
  - name: proc
    hostPath:
      path: /proc
      type: Directory
  {{- else }}
  - name: meminfo
    hostPath:
      path: /proc/meminfo
      type: File
  - name: boot-id
    hostPath:
      path: /proc/sys/kernel/random/boot_id
      type: File
  {{- end }}
  - name: proc-sys-fs-inotify
    hostPath:
      path: /proc/sys/fs/inotify
      type: Directory
  - name: proc-sys-fs-epoll
    hostPath:
      path: /proc/sys/fs/epoll
      type: Directory
  - name: proc-sys-fs-file-max
    hostPath:
      path: /proc/sys/fs/file-max
      type: File
  {{- range $files }}
  - name: proc-sys-{{ regexReplaceAll "[^a-z0-9]" . "-" }}
    hostPath:
      path: /proc/sys/{{ . }}
      type: File
  {{- end }}
  - name: run
    hostPath:
      path: {{ $.Values.stateDir }}
      type: DirectoryOrCreate
  {{- if $.Values.scan }}
  - name: log
    hostPath:
      path: /var/log
      type: Directory
  {{- end }}
  {{- if ne $.Values.disk.mode "observe" }}
  - name: runtime
    hostPath:
      path: {{ $.Values.disk.runtimeDir }}
      type: DirectoryOrCreate
  {{- end }}
  {{- with $.Values.metrics.tls.secretName }}
  - name: web
    configMap:
      name: {{ include "nodetune.fullname" $ }}-web
  - name: tls
    secret:
      secretName: {{ . }}
      defaultMode: 256 # 0400
  {{- end }}
  {{- if $.Values.refusals }}
  - name: tracing
    hostPath:
      path: /sys/kernel/tracing
      type: Directory
  {{- end }}
  {{- if has $.Values.sysctl.guard (list "observe" "hold") }}
  - name: cgroup
    hostPath:
      path: /sys/fs/cgroup
      type: Directory
  {{- end }}
  {{- with $.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
