{{/* The name of all objects. 52 characters: Kubernetes puts a hash behind the StatefulSet's name in a label. */}}
{{- define "job-exporter.fullname" -}}
{{- $default := .Release.Name -}}
{{- if not (contains .Chart.Name .Release.Name) -}}
{{- $default = printf "%s-%s" .Release.Name .Chart.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $default | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels that select the pods. The name is fixed: the rules expect job="job-exporter" of it. */}}
{{- define "job-exporter.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "job-exporter.labels" -}}
{{- $own := include "job-exporter.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/part-of" .Chart.Name -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Metadata of an object. A dict: root, and if wanted suffix, namespace, labels, annotations. */}}
{{- define "job-exporter.metadata" -}}
name: {{ include "job-exporter.fullname" .root }}{{ .suffix }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- merge (include "job-exporter.labels" .root | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge dict (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "job-exporter.serviceAccountName" -}}
{{- $default := ternary (include "job-exporter.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- define "job-exporter.image" -}}
{{- with .Values.image -}}
{{- .repository -}}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The key of the password or token, in the Secret and as the name of its file. */}}
{{- define "job-exporter.credentialsFile" -}}
{{- ternary "password" "token" (eq .Values.credentials.type "basic") -}}
{{- end -}}

{{/* The configuration file: the user's settings and what follows from the other values. */}}
{{- define "job-exporter.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $api := $config.api -}}
{{- if ne .Values.credentials.type "none" -}}
{{- $file := include "job-exporter.credentialsFile" . -}}
{{- $_ := set $api (printf "%s_file" $file) (printf "/etc/job-exporter/credentials/%s" $file) -}}
{{- if eq .Values.credentials.type "basic" -}}
{{- $_ := set $api "username" .Values.credentials.username -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.ledger.type "sqlite" -}}
{{- $state := set (.Values.config.state | default dict | deepCopy) "url" "sqlite:////var/lib/job-exporter/job-exporter.db" -}}
{{- $_ := set $config "state" $state -}}
{{- end -}}
{{- if .Values.web.existingSecret -}}
{{- $web := set (.Values.config.web | default dict | deepCopy) "config_file" "/etc/job-exporter/web/web-config.yml" -}}
{{- $_ := set $config "web" $web -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "job-exporter.probeType" -}}
{{- .Values.probes.type | default (ternary "http" "exec" (empty .Values.web.existingSecret)) -}}
{{- end -}}

{{/* What a probe does. A dict: root, path. */}}
{{- define "job-exporter.probe" -}}
{{- if eq (include "job-exporter.probeType" .root) "exec" -}}
exec:
  command: [job-exporter, healthcheck]
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ ternary "HTTPS" "HTTP" .root.Values.web.tls }}
{{- end -}}
{{- end -}}

{{/* The port of the platform, or of the proxy before it, from its address. */}}
{{- define "job-exporter.platformPort" -}}
{{- $url := urlParse (.Values.config.api.proxy_url | default .Values.config.api.base_url) -}}
{{- $given := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- $given | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}
