<#
.SYNOPSIS
Installs Datasave on Windows, or updates it. Lies in a release beside the wheel, its lock file and their sums.
.DESCRIPTION
As install.sh does on other systems: compares the release with SHA256SUMS, makes a Python environment for this version
with uv (which it gets where it is not here), installs all packages by the hashes of the lock file, proves it with
"datasave self-check", and only then makes this version the one on the PATH. Run again with a newer release it
updates; -Back returns to the version before. Plans and state are never touched.

As an administrator it installs for the machine (Program Files, ProgramData), else for this account alone
(AppData\Local, which OneDrive does not synchronise). To run it:

    powershell -ExecutionPolicy Bypass -File install.ps1
.PARAMETER Back
The version before once more.
.PARAMETER Python
The Python to use, as uv takes it.
.PARAMETER Packages
Take the packages from a folder, and nothing from the network.
.PARAMETER Prefix
Where the program goes.
.PARAMETER DataHome
The private folder for plans and state.
#>
param(
    [switch]$Back,
    [string]$Python = '>=3.11',
    [string]$Packages = '',
    [string]$Prefix = '',
    [string]$DataHome = ''
)
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$UvVersion = '0.13.9'
$account = [Security.Principal.WindowsIdentity]::GetCurrent()
$administrators = [Security.Principal.WindowsBuiltInRole]::Administrator
$machine = ([Security.Principal.WindowsPrincipal]$account).IsInRole($administrators)
if (-not $Prefix) {
    $Prefix = if ($machine) { "$env:ProgramFiles\Datasave" } else { "$env:LOCALAPPDATA\Programs\Datasave" }
}
if (-not $DataHome) {
    $DataHome = if ($machine) { "$env:ProgramData\Datasave" } else { "$env:LOCALAPPDATA\Datasave" }
}

function Stop-Here([string]$What, [string]$Hint = '') {
    [Console]::Error.WriteLine("install.ps1: $What")
    if ($Hint) { [Console]::Error.WriteLine("  -> $Hint") }
    exit 1
}

# Run a program; where it fails, this ends. A native program's failure is no exception in Windows PowerShell.
function Invoke-Program([string]$Program, [string[]]$Words) {
    & $Program @Words
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with status $LASTEXITCODE" }
}

function Test-Program([string]$Folder) {
    $program = Join-Path $Folder 'Scripts\datasave.exe'
    if (-not (Test-Path -LiteralPath $program)) { return $false }
    & $program 'self-check' | Out-Host
    return $LASTEXITCODE -eq 0
}

# The folder that a junction in the prefix points to; empty where there is none.
function Get-Version([string]$Name) {
    $path = Join-Path $Prefix $Name
    if (-not (Test-Path -LiteralPath $path)) { return '' }
    return [string]@((Get-Item -LiteralPath $path).Target)[0]
}

# A junction needs no rights that a symbolic link needs. Deleting one leaves what it points to.
function Set-Version([string]$Name, [string]$Folder) {
    $path = Join-Path $Prefix $Name
    if (Test-Path -LiteralPath $path) { [IO.Directory]::Delete($path, $false) }
    New-Item -ItemType Junction -Path $path -Target $Folder | Out-Null
}

function Switch-To([string]$Folder) {
    $old = Get-Version 'current'
    if ($old -eq $Folder) { return }
    if ($old) { Set-Version 'previous' $old }
    Set-Version 'current' $Folder
}

# A folder that SYSTEM, administrators and this account alone may enter. One that is there is left as it is.
function New-PrivateFolder([string]$Path) {
    if (Test-Path -LiteralPath $Path) { return }
    New-Item -ItemType Directory -Path $Path | Out-Null
    $full = '(OI)(CI)F'
    $words = @($Path, '/inheritance:r', '/grant:r', "*S-1-5-18:$full", "*S-1-5-32-544:$full")
    Invoke-Program 'icacls.exe' ($words + @("*$($account.User.Value):$full", '/Q'))
}

# Add a folder to the PATH, of the machine or this account. What is written there as %NAME% stays so.
function Add-ToPath([string]$Folder) {
    $machineKey = 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
    $hive = if ($machine) { [Microsoft.Win32.Registry]::LocalMachine } else { [Microsoft.Win32.Registry]::CurrentUser }
    $key = $hive.OpenSubKey($(if ($machine) { $machineKey } else { 'Environment' }), $true)
    try {
        $raw = [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames
        $path = [string]$key.GetValue('Path', '', $raw)
        if (($path -split ';') -contains $Folder) { return }
        $kind = [Microsoft.Win32.RegistryValueKind]::ExpandString
        $key.SetValue('Path', ($path.TrimEnd(';') + ";$Folder").TrimStart(';'), $kind)
    } finally { $key.Close() }
    Write-Host "$Folder is on the PATH now: open a new window"
}

function Get-Uv([string]$Parts) {
    $found = Get-Command 'uv.exe' -ErrorAction SilentlyContinue
    if ($found) { return $found.Source }
    $own = Join-Path $Prefix 'uv\uv.exe'
    if (-not (Test-Path -LiteralPath $own)) {
        Write-Host "getting uv $UvVersion, which brings a Python"
        [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
        $script = Join-Path $Parts 'uv.ps1'
        Invoke-WebRequest -UseBasicParsing "https://astral.sh/uv/$UvVersion/install.ps1" -OutFile $script
        $env:UV_UNMANAGED_INSTALL = Join-Path $Prefix 'uv'
        Invoke-Program 'powershell.exe' @('-NoProfile', '-ExecutionPolicy', 'Bypass', '-File', $script) | Out-Null
    }
    return $own
}

# The wheel's name, once the release's files are those of its sums. Copied first: what is compared is installed.
function Copy-Release([string]$Parts) {
    $wheels = @(Get-ChildItem -LiteralPath $PSScriptRoot -Filter 'datasave-*.whl')
    if ($wheels.Count -ne 1) { Stop-Here "$PSScriptRoot is not a whole release: it has not one wheel" }
    foreach ($name in @('SHA256SUMS', 'requirements.lock', $wheels[0].Name)) {
        Copy-Item -LiteralPath (Join-Path $PSScriptRoot $name) -Destination $Parts
    }
    $sums = @(Get-Content -LiteralPath (Join-Path $Parts 'SHA256SUMS'))
    foreach ($name in @('requirements.lock', $wheels[0].Name)) {
        $sum = (Get-FileHash -Algorithm SHA256 -LiteralPath (Join-Path $Parts $name)).Hash.ToLowerInvariant()
        if ($sums -notcontains "$sum  $name") { Stop-Here "the release is damaged: $name is not that of SHA256SUMS" }
    }
    return $wheels[0].Name
}

# The first letters of the sum over both files' sums: another lock file makes another version.
function Get-Label([string]$Parts, [string]$Wheel) {
    $both = @($Wheel, 'requirements.lock') | ForEach-Object {
        (Get-FileHash -Algorithm SHA256 -LiteralPath (Join-Path $Parts $_)).Hash
    }
    $stream = New-Object IO.MemoryStream (, [Text.Encoding]::ASCII.GetBytes(($both -join ' ')))
    $sum = (Get-FileHash -Algorithm SHA256 -InputStream $stream).Hash.ToLowerInvariant()
    return ($Wheel -split '-')[1] + '-' + $sum.Substring(0, 12)
}

function New-Environment([string]$Folder, [string]$Parts, [string]$Wheel) {
    $uv = Get-Uv $Parts
    # Where every account may read it: the default lies in one account's own folder.
    $env:UV_PYTHON_INSTALL_DIR = Join-Path $Prefix 'python'
    Invoke-Program $uv @('venv', '--quiet', '--python', $Python, $Folder)
    $install = @('pip', 'install', '--quiet', '--python', "$Folder\Scripts\python.exe", '--no-build', '--no-deps')
    if ($Packages) { $install += @('--offline', '--no-index', '--find-links', $Packages) }
    Invoke-Program $uv ($install + @('--require-hashes', '-r', "$Parts\requirements.lock"))
    Invoke-Program $uv ($install + @("$Parts\$Wheel"))
}

if ($Back) {
    $before = Get-Version 'previous'
    if (-not $before) { Stop-Here "there is no version before this one in $Prefix" }
    if (-not (Test-Program $before)) { Stop-Here 'the version before is not as it was built: nothing was changed' }
    Switch-To $before
    Write-Host "datasave is $(Split-Path -Leaf $before) again. A task goes on with the other version until it starts anew."
    exit 0
}

$parts = Join-Path ([IO.Path]::GetTempPath()) ("datasave-" + [Guid]::NewGuid().ToString('N'))
New-Item -ItemType Directory -Path $parts | Out-Null
$unfinished = ''
try {
    $wheel = Copy-Release $parts
    $label = Get-Label $parts $wheel
    $folder = Join-Path $Prefix "versions\$label"
    New-Item -ItemType Directory -Force -Path "$Prefix\versions", "$Prefix\bin" | Out-Null
    if (Test-Program $folder) {
        Write-Host "$label is here already, as it was built"
    } else {
        if ((Get-Version 'current') -eq $folder -and (Test-Path -LiteralPath $folder)) {
            Stop-Here "$folder was changed since it was installed" 'Find out by whom, move it away, and run this again.'
        }
        if (Test-Path -LiteralPath $folder) { Remove-Item -Recurse -Force -LiteralPath $folder }
        $unfinished = $folder
        Write-Host "installing $label into $Prefix"
        New-Environment $folder $parts $wheel
        if (-not (Test-Program $folder)) { throw 'what was installed is not as it was built: nothing was changed' }
        $unfinished = ''
    }
    Switch-To $folder
} catch {
    Stop-Here "$_"
} finally {
    Remove-Item -Recurse -Force -LiteralPath $parts -ErrorAction SilentlyContinue
    if ($unfinished) { Remove-Item -Recurse -Force -LiteralPath $unfinished -ErrorAction SilentlyContinue }
}
# Not the environment's own Scripts: its python.exe would take the place of others on the PATH.
Set-Content -LiteralPath "$Prefix\bin\datasave.cmd" -Encoding ASCII -Value '@"%~dp0..\current\Scripts\datasave.exe" %*'
$kept = @($folder, (Get-Version 'previous'))
Get-ChildItem -LiteralPath "$Prefix\versions" -Directory | Where-Object { $kept -notcontains $_.FullName } |
    Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
New-PrivateFolder $DataHome
Add-ToPath "$Prefix\bin"
Write-Host "datasave is $label now; plans and state go into $DataHome"
if (Get-Version 'previous') { Write-Host 'The version before: install.ps1 -Back. A running task changes when it starts anew.' }
$plans = @(Get-ChildItem -LiteralPath $DataHome -Filter '*.yaml' -ErrorAction SilentlyContinue)
foreach ($plan in $plans) {
    & "$Prefix\current\Scripts\datasave.exe" doctor --plan $plan.FullName
    if ($LASTEXITCODE -ne 0) { Write-Host 'The program is installed; what doctor found needs you.' }
}
if (-not $plans) { Write-Host "Next: datasave init `"$DataHome\office.yaml`" ..., then datasave doctor." }
