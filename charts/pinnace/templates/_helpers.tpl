{{- define "pinnace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Beginning of all names: 50 characters, so that the longest suffix fits into 63. */}}
{{- define "pinnace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "pinnace.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pinnace.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Objects without a namespace carry the release's, so that releases of one name in two namespaces don't collide. */}}
{{- define "pinnace.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "pinnace.fullname" .) -}}
{{- end -}}

{{- define "pinnace.labels" -}}
{{ include "pinnace.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: pinnace
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pinnace.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pinnace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* image: (list $ "operator") */}}
{{- define "pinnace.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.image (index . 1) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* serviceAccountName: (list $ "operator") */}}
{{- define "pinnace.serviceAccountName" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- default (printf "%s-%s" (include "pinnace.fullname" $root) $part) (index $root.Values $part).serviceAccount.name -}}
{{- end -}}

{{- define "pinnace.apiUrl" -}}
{{- printf "http://%s-api.%s.svc:%v" (include "pinnace.fullname" .) .Release.Namespace .Values.api.service.port -}}
{{- end -}}

{{/* Both webhook configurations. They lie in no namespace, and a name of theirs can't have a colon. */}}
{{- define "pinnace.webhookName" -}}
{{- printf "%s.%s" (include "pinnace.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "pinnace.webhookSecret" -}}
{{- printf "%s-webhook" (include "pinnace.fullname" .) -}}
{{- end -}}

{{/* The name that the API server calls the webhooks by. */}}
{{- define "pinnace.webhookHost" -}}
{{- printf "%s-webhook.%s.svc" (include "pinnace.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "pinnace.adminTokenSecret" -}}
{{- default (printf "%s-admin-token" (include "pinnace.fullname" .)) .Values.api.adminToken.existingSecret -}}
{{- end -}}

{{- define "pinnace.claim" -}}
{{- default (printf "%s-api" (include "pinnace.fullname" .)) .Values.api.persistence.existingClaim -}}
{{- end -}}

{{/* Where a pod goes: (list $ "api"). A spread that names no pods is among the part's own. */}}
{{- define "pinnace.placement" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- with index $root.Values $part -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range .topologySpreadConstraints }}
  {{- $own := include "pinnace.selectorLabels" $root | fromYaml }}
  {{- $_ := set $own "app.kubernetes.io/component" $part }}
  - {{- merge (deepCopy .) (hasKey . "labelSelector" | ternary dict (dict "labelSelector" (dict "matchLabels" $own))) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* env: (list "operator" OUR-ENV-AS-YAML EXTRA-ENV) */}}
{{- define "pinnace.env" -}}
{{- $part := index . 0 -}}
{{- $ours := index . 1 | fromYamlArray -}}
{{- $names := list -}}
{{- range $ours -}}{{- $names = append $names .name -}}{{- end -}}
{{- range index . 2 -}}
{{- if has .name $names -}}
{{- fail (printf "\n\n%s.extraEnv sets %s, which the chart sets itself: use the value it comes from" $part .name) -}}
{{- end -}}
{{- end -}}
{{- concat $ours (index . 2) | toYaml -}}
{{- end -}}

{{/* Which store, for the operator's sidecars and for the API alike. */}}
{{- define "pinnace.storeEnv" -}}
{{- with .Values.store.endpoint }}
- name: PINNACE_STORE_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: PINNACE_STORE_REGION
  value: {{ .Values.store.region | quote }}
- name: PINNACE_STORE_BUCKET
  value: {{ .Values.store.bucket | quote }}
{{- with .Values.store.prefix }}
- name: PINNACE_STORE_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: PINNACE_STORE_ADDRESSING
  value: {{ .Values.store.addressing }}
- name: PINNACE_STORE_CHECKSUMS
  value: {{ .Values.store.checksums }}
{{- with .Values.store.serverSideEncryption }}
- name: PINNACE_STORE_SERVER_SIDE_ENCRYPTION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.store.proxy }}
- name: PINNACE_STORE_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.store.noProxy }}
- name: PINNACE_STORE_NO_PROXY
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .Values.store.bandwidthBytesPerSecond }}
- name: PINNACE_STORE_BANDWIDTH_BYTES_PER_SECOND
  value: {{ . | int64 | quote }}
{{- end }}
{{- if .Values.store.readBack }}
- name: PINNACE_STORE_READ_BACK
  value: "true"
{{- end }}
{{- end -}}

{{/* Not empty: the API reads and maybe writes the store itself. */}}
{{- define "pinnace.apiUsesStore" -}}
{{- if or (eq .Values.api.artifacts.backend "s3") .Values.api.artifacts.storeCredentialsSecret -}}yes{{- end -}}
{{- end -}}

{{/* Not empty: the API has a volume under /data. */}}
{{- define "pinnace.apiHasData" -}}
{{- if or (not .Values.api.database.url.existingSecret) (eq .Values.api.artifacts.backend "filesystem") -}}yes{{- end -}}
{{- end -}}

{{/* Not empty: objects of the Prometheus operator are made. */}}
{{- define "pinnace.monitoring" -}}
{{- $known := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or (eq .Values.monitoring.install "always") (and (eq .Values.monitoring.install "auto") $known) -}}yes{{- end -}}
{{- end -}}

{{/* How many pods of the API there are at least. */}}
{{- define "pinnace.apiReplicas" -}}
{{- if .Values.api.autoscaling.enabled }}{{ .Values.api.autoscaling.minReplicas }}{{ else }}{{ .Values.api.replicas }}{{ end -}}
{{- end -}}

{{/* How many there may be: more than one has consequences. */}}
{{- define "pinnace.apiMostReplicas" -}}
{{- if .Values.api.autoscaling.enabled }}{{ .Values.api.autoscaling.maxReplicas }}{{ else }}{{ .Values.api.replicas }}{{ end -}}
{{- end -}}

{{/* The port of a URL: its own, else its scheme's. */}}
{{- define "pinnace.portOf" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else if hasPrefix "http://" . -}}80{{- else -}}443{{- end -}}
{{- end -}}

{{/* What operator and API read cluster-wide where ArtifactStores are served; the dot is the verbs. */}}
{{- define "pinnace.artifactStoreRules" -}}
# Which stores are offered.
- apiGroups: [pinnace.dev]
  resources: [artifactstores]
  verbs: {{ . }}
# By which labels of namespaces.
- apiGroups: [""]
  resources: [namespaces]
  verbs: {{ . }}
{{- end -}}
