@echo off
rem Makes the cluster at the first start, then becomes the server, with further options if there are any:
rem docker run IMAGE postgres -c work_mem=8MB
setlocal
set PATH=C:\pgsql\bin;%PATH%
if not "%1"=="postgres" goto run
rem What a killed server left would say that this one is ready.
if exist %PGDATA%\postmaster.pid del %PGDATA%\postmaster.pid
if exist %PGDATA%\PG_VERSION goto run

set PASSWORD_FILE=%POSTGRES_PASSWORD_FILE%
if not "%PASSWORD_FILE%"=="" goto make
if "%POSTGRES_PASSWORD%"=="" goto refuse
set PASSWORD_FILE=%TEMP%\password
echo %POSTGRES_PASSWORD%> %PASSWORD_FILE%

:make
rem Made beside its place and moved there when all scripts have run: a start that was cut off is made up for.
if exist %PGDATA%.new rmdir /s /q %PGDATA%.new
initdb -D %PGDATA%.new -U %POSTGRES_USER% -A scram-sha-256 --pwfile=%PASSWORD_FILE% -E UTF8 --no-locale --no-sync || exit /b 1
echo host all all all scram-sha-256>> %PGDATA%.new\pg_hba.conf
if "%POSTGRES_DB%"=="postgres" goto scripts
echo create database "%POSTGRES_DB%"| postgres --single -D %PGDATA%.new postgres > nul || exit /b 1

:scripts
rem In single-user mode, before anybody can connect. A statement ends with a semicolon and an empty line.
for %%f in (C:\docker-entrypoint-initdb.d\*.sql) do (
    echo running %%f
    postgres --single -j -D %PGDATA%.new %POSTGRES_DB% < %%f > nul || exit /b 1
)
move %PGDATA%.new %PGDATA% > nul || exit /b 1
echo the cluster is made

:run
%* -c listen_addresses=*
exit /b %errorlevel%

:refuse
echo Give the superuser a password: -e POSTGRES_PASSWORD_FILE=C:\run\secrets\... or -e POSTGRES_PASSWORD=... 1>&2
exit /b 1
