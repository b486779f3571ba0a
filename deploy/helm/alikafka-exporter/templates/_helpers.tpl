{{/*
Shared templates: names, labels, the exporter configuration, and checks that the schema cannot express.
*/}}

{{- define "alikafka-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "alikafka-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "alikafka-exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "alikafka-exporter.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "alikafka-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "alikafka-exporter.serviceAccountName" -}}
{{- $default := ternary (include "alikafka-exporter.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{/* Selects only the exporter pods: test pods have another component. Must never change because selectors are immutable. */}}
{{- define "alikafka-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "alikafka-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end -}}

{{- define "alikafka-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "alikafka-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of `helm test` objects: another component, so that no selector matches them. */}}
{{- define "alikafka-exporter.testLabels" -}}
{{- $labels := include "alikafka-exporter.labels" . | fromYaml -}}
{{- toYaml (set $labels "app.kubernetes.io/component" "test") -}}
{{- end -}}

{{- define "alikafka-exporter.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry -}}{{- $name = printf "%s/%s" $image.registry $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "alikafka-exporter.credentialsPath" -}}/etc/alikafka-exporter/credentials{{- end -}}
{{- define "alikafka-exporter.tokenPath" -}}/var/run/secrets/alikafka-exporter/token{{- end -}}

{{/* Whether the chart mounts the RRSA token itself, without the webhook. */}}
{{- define "alikafka-exporter.mountsToken" -}}
{{- if and .Values.rrsa.roleArn .Values.rrsa.oidcProviderArn -}}true{{- end -}}
{{- end -}}

{{/* The exporter configuration: `config` from the values, completed with the credentials that other values imply. */}}
{{- define "alikafka-exporter.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $own := default dict $config.credentials -}}
{{- $found := dict -}}
{{- if .Values.credentials.existingSecret -}}
{{- if hasKey $own "type" -}}
{{- fail "config.credentials.type and credentials.existingSecret are mutually exclusive: the Secret is the source" -}}
{{- end -}}
{{- $path := include "alikafka-exporter.credentialsPath" . -}}
{{- $_ := set $found "access_key_id_file" (printf "%s/access_key_id" $path) -}}
{{- $_ := set $found "access_key_secret_file" (printf "%s/access_key_secret" $path) -}}
{{- if .Values.credentials.securityTokenKey -}}
{{- $_ := set $found "security_token_file" (printf "%s/security_token" $path) -}}
{{- end -}}
{{- else if include "alikafka-exporter.mountsToken" . -}}
{{- $_ := set $found "type" "oidc" -}}
{{- $_ := set $found "role_arn" .Values.rrsa.roleArn -}}
{{- $_ := set $found "oidc_provider_arn" .Values.rrsa.oidcProviderArn -}}
{{- $_ := set $found "oidc_token_file" (printf "%s/token" (include "alikafka-exporter.tokenPath" .)) -}}
{{- else if .Values.rrsa.roleName -}}
{{- /* Not `chain`, which would fall back to the role of the node if the token service is unreachable at startup. */ -}}
{{- $_ := set $found "type" "oidc" -}}
{{- end -}}
{{- if $found -}}
{{- $_ := set $config "credentials" (merge (dict) $own $found) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "alikafka-exporter.checks" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor.enabled and podMonitor.enabled are mutually exclusive: every series would be scraped twice" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor.enabled needs service.enabled; without a Service, use podMonitor.enabled" -}}
{{- end -}}
{{- if ne (empty .Values.rrsa.roleArn) (empty .Values.rrsa.oidcProviderArn) -}}
{{- fail "rrsa.roleArn and rrsa.oidcProviderArn must be set together" -}}
{{- end -}}
{{- if and .Values.rrsa.roleName .Values.rrsa.roleArn -}}
{{- fail "rrsa.roleName is for use with the webhook, rrsa.roleArn for use without it: set one of them" -}}
{{- end -}}
{{- if and .Values.credentials.existingSecret (or .Values.rrsa.roleName .Values.rrsa.roleArn) -}}
{{- fail "credentials.existingSecret and rrsa both provide the access key: set one of them" -}}
{{- end -}}
{{- end -}}

{{/* Volume mounts of a container that reads the configuration. */}}
{{- define "alikafka-exporter.mounts" -}}
- name: config
  mountPath: /etc/alikafka-exporter/config
  readOnly: true
{{- if .Values.credentials.existingSecret }}
- name: credentials
  mountPath: {{ include "alikafka-exporter.credentialsPath" . }}
  readOnly: true
{{- end }}
{{- range $i, $secret := .Values.credentials.extraSecrets }}
- name: secret-{{ $i }}
  mountPath: {{ default (printf "/etc/alikafka-exporter/secrets/%s" $secret.secretName) $secret.mountPath }}
  readOnly: true
{{- end }}
{{- if include "alikafka-exporter.mountsToken" . }}
- name: token
  mountPath: {{ include "alikafka-exporter.tokenPath" . }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* Directories, never subPath: a file mounted by subPath does not follow changes of its Secret. */}}
{{- define "alikafka-exporter.volumes" -}}
- name: config
  configMap:
    name: {{ include "alikafka-exporter.fullname" . }}
    defaultMode: 0440
{{- with .Values.credentials }}
{{- if .existingSecret }}
- name: credentials
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .accessKeyIdKey }}
        path: access_key_id
      - key: {{ .accessKeySecretKey }}
        path: access_key_secret
      {{- with .securityTokenKey }}
      - key: {{ . }}
        path: security_token
      {{- end }}
{{- end }}
{{- range $i, $secret := .extraSecrets }}
- name: secret-{{ $i }}
  secret:
    secretName: {{ $secret.secretName }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if include "alikafka-exporter.mountsToken" . }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: sts.aliyuncs.com
          expirationSeconds: {{ .Values.rrsa.tokenExpirationSeconds }}
          path: token
{{- end }}
{{- end -}}

{{/* An HTTP probe of .path with the settings in .times. */}}
{{- define "alikafka-exporter.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{ toYaml .times }}
{{- end -}}

{{/* Sets the job name before the relabelings from the values. */}}
{{- define "alikafka-exporter.relabelings" -}}
- action: replace
  targetLabel: job
  replacement: {{ .jobName | quote }}
{{- with .relabelings }}
{{ toYaml . }}
{{- end }}
{{- end -}}
