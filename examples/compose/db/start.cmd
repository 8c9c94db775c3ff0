@echo off
rem A volume begins empty: the cluster is made at the first start. It is a folder in the volume, since PostgreSQL takes the
rem place where a volume is mounted for a junction.
if exist C:\data\cluster\PG_VERSION goto start
C:\pgsql\bin\initdb.exe -D C:\data\cluster -U postgres -A password --pwfile=C:\run\secrets\db-password -E UTF8 --no-locale || exit /b 1
echo host all all all password>> C:\data\cluster\pg_hba.conf
:start
rem What a killed server left would say that this one is ready.
if exist C:\data\cluster\postmaster.pid del C:\data\cluster\postmaster.pid
C:\pgsql\bin\postgres.exe -D C:\data\cluster -c listen_addresses=*
